-- The page of a search for the learning rate.

local lr_find = require "graft.lr_find"
local page = require "graft.page"
local plot = require "graft.plot"

return function(found)
   local rows = { { "learning rate", "loss", "smoothed" } }
   for _, point in ipairs(found.points) do
      rows[#rows + 1] = { ("%.2e"):format(point.lr), ("%.4f"):format(point.loss), ("%.4f"):format(point.smoothed) }
   end
   local head = table.remove(rows, 1)
   return { title = "Learning rate", subtitle = "A copy of the network was trained while the rate rose from step to step.",
      sections = {
         { id = "suggestion", title = "Suggestion", html = page.facts(lr_find.rows(found))
            .. plot.svg(lr_find.chart(found, true), { width = 760, height = 360 }) },
         { id = "steps", title = "Steps", html = "<details><summary>the loss of every step</summary>"
            .. page.table { head = head, align = "rrr", rows = rows } .. "</details>" },
      }, text = tostring(found) .. "\n" }
end
