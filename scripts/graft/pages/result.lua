-- The page of an evaluation.

local format = require "graft.format"
local page = require "graft.page"
local report = require "graft.report"
local chapters = require "graft.chapters"
local evaluation = require "graft.pages.evaluation"
local origins = require "graft.origins"

local function text_of(result)
   return table.concat({ ("accuracy  %.3f   loss %.3f%s"):format(result.accuracy, result.loss,
      result.top5 and ("   top-5 %.3f"):format(result.top5) or ""), report.classes(result), report.confusion(result) }, "\n\n")
      .. "\n"
end

return function(result)
   local origin = origins.of(result)
   local sections = evaluation.all(result, result.photos and chapters.select(result.photos), origin, 20)
   table.insert(sections, 1, { id = "result", title = "Result", html = evaluation.headline(result, "that were looked at")
      .. page.facts { { "loss", ("%.4f"):format(result.loss) }, { "classes", format.count(#result.classes) },
         result.heads and #result.heads > 1 and { "classifiers", { html = page.table { head = { "classifier", "accuracy" },
            align = "lr", rows = evaluation.heads(result) } } } or { "" } } })
   if not result.photos then
      sections[#sections + 1] = { id = "photos", title = "Photos to look at", html = page.paragraph("Which photos were wrong was "
         .. "not noted: graft.evaluate(net, set, { photos = true }) does.") }
   end
   return { title = "Evaluation", sections = sections, text = text_of(result) }
end
