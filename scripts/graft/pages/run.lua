-- The page of a run.

local page = require "graft.page"
local report = require "graft.report"

return function(run)
   local evaluation = run.evaluation
   local parts = { tostring(run), evaluation and report.classes(evaluation), evaluation and report.confusion(evaluation) }
   local lines = {}
   for line in parts[1]:gmatch("[^\n]+") do
      lines[#lines + 1] = page.escape(line)
   end
   return { title = "Run", sections = { { id = "result", title = "Result", html = "<pre>" .. table.concat(lines, "\n")
      .. "</pre>" } }, text = table.concat(parts, "\n\n") .. "\n" }
end
