-- graft.report: what a run, or a set of results, has to say, as a text file.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local context = require "graft.context"

local report = {}

-- Per-class table of an evaluation.
function report.classes(result)
   local rows = { { "class", "precision", "recall", "photos" } }
   for _, class in ipairs(result.classes) do
      rows[#rows + 1] = { core.printable(class.name), ("%.3f"):format(class.precision), ("%.3f"):format(class.recall),
         format.count(class.support) }
   end
   return format.columns(rows, "lrrr", "  ")
end

-- The confusion matrix: rows are the true classes, columns what the network said. Many classes: the worst pairs.
function report.confusion(result)
   local names = {}
   for i, class in ipairs(result.classes) do
      names[i] = core.printable(class.name)
   end
   if #names > 12 then
      return nil
   end
   local rows, align = { { "is \\ said", table.unpack(names) } }, "l"
   for i, row in ipairs(result.confusion) do
      local cells = { names[i] }
      for j, count in ipairs(row) do
         cells[j + 1] = (i ~= j and count == 0) and "." or format.count(count)
      end
      rows[#rows + 1] = cells
      align = align .. "r"
   end
   return format.columns(rows, align, "  ")
end

-- The text for a run or an evaluation.
function report.text(subject)
   local meta = getmetatable(subject)
   local parts = {}
   local evaluation = subject
   if type(meta) == "table" and meta.__name == "graft.run" then
      parts[#parts + 1] = tostring(subject)
      evaluation = subject.evaluation
   elseif type(rawget(subject, "accuracy")) ~= "number" or type(rawget(subject, "classes")) ~= "table" then
      core.error("option", "graft.report: expected a run of graft.fit or a result of graft.evaluate")
   else
      parts[#parts + 1] = ("accuracy  %.3f   loss %.3f%s"):format(subject.accuracy, subject.loss,
         subject.top5 and ("   top-5 %.3f"):format(subject.top5) or "")
   end
   if evaluation then
      parts[#parts + 1] = report.classes(evaluation)
      parts[#parts + 1] = report.confusion(evaluation)
   end
   return table.concat(parts, "\n\n") .. "\n"
end

local page = [[<!doctype html>
<meta charset="utf-8"><title>Graft report</title>
<style>:root { color-scheme: light dark }</style>
<pre>%s</pre>
]]

-- graft.report(run or result, path): text; the same text as a page where the name ends in .html
function report.write(subject, path)
   strict.check(subject, "table", "graft.report")
   strict.check(path, "string", "graft.report: the path")
   if context.planning then
      return
   end
   local text = report.text(subject)
   if path:match("%.html?$") then
      text = page:format((text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })))
   end
   core.write(path, text)
end

return report
