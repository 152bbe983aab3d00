-- The page of an evaluation.

local page = require "graft.page"
local report = require "graft.report"

return function(result)
   local parts = { ("accuracy  %.3f   loss %.3f%s"):format(result.accuracy, result.loss,
      result.top5 and ("   top-5 %.3f"):format(result.top5) or ""), report.classes(result), report.confusion(result) }
   local text = table.concat(parts, "\n\n") .. "\n"
   return { title = "Evaluation", sections = { { id = "result", title = "Result",
      html = "<pre>" .. page.escape(parts[1]) .. "</pre>" } }, text = text }
end
