-- graft.report: what a run, a result, a probe, a study or a search for a rate has to say, as a page or as text.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local context = require "graft.context"
local page = require "graft.page"

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

-- Subjects that have a page, by the __name of their metatable. scripts/graft/pages/NAME.lua returns a function of the subject
-- that gives {title=, subtitle=, sections=} for graft.page, and `text` for a file of another ending.
local subjects = { "run", "result", "probe", "study", "lr", "map" }

local function content_of(subject)
   local meta = getmetatable(subject)
   for _, name in ipairs(subjects) do
      if type(meta) == "table" and rawget(meta, "__name") == "graft." .. name then
         return require("graft.pages." .. name)(subject)
      end
   end
   if meta == nil and type(rawget(subject, "pictures")) == "table" then
      return require("graft.pages.album")(subject)
   end
   core.error("option", "graft.report: expected a run of graft.fit, a result of graft.evaluate, or what graft.probe, "
      .. "graft.study, "
      .. "graft.lr_find or graft.map gave, or pictures of one's own: { pictures = { { title =, image = }, ... } }")
end

-- What a subject has to say, as text.
function report.text(subject)
   return content_of(subject).text
end

-- The same as a page.
function report.html(subject)
   return page.html(content_of(subject))
end

-- graft.report(subject, path): a page where the name ends in .html, else its text
function report.write(subject, path)
   strict.check(subject, "table", "graft.report")
   strict.check(path, "string", "graft.report: the path")
   if context.planning then
      return
   end
   core.write(path, path:lower():find("%.html?$") and report.html(subject) or report.text(subject), true)
end

return report
