-- The page of a run: what was trained and how, what came of it, on which photos it is wrong, and how to make it again.

local core = require "graft.core"
local format = require "graft.format"
local page = require "graft.page"
local chapters = require "graft.chapters"
local evaluation = require "graft.pages.evaluation"
local origins = require "graft.origins"
local phases = require "graft.pages.phases"
local report = require "graft.report"

local escape = page.escape

-- ---- skipped files ----

local MOST_SKIPPED = 100

local function skipped_section(run)
   if #run.skipped == 0 then
      return nil
   end
   local rows = {}
   for i = 1, math.min(#run.skipped, MOST_SKIPPED) do
      rows[i] = { run.skipped[i].file, run.skipped[i].reason }
   end
   return { id = "skipped", title = "Files left out", html = page.paragraph(("%s of the folder took no part%s."):format(
      format.plural(#run.skipped, "file"), #run.skipped > MOST_SKIPPED and ("; the first %d"):format(MOST_SKIPPED) or ""))
      .. page.table { head = { "file", "why" }, rows = rows } }
end

-- ---- the whole ----

-- Seconds that looking at photos may take: of a short training a tenth, and a moment.
local function patience(chapter)
   return math.min(1, 0.3 + chapter.seconds / 10)
end

local function result_section(run, chapter)
   local result, html = run.evaluation, {}
   if result then
      html[1] = evaluation.headline(result, "it never trained on")
      if run.kept == "best" and run.best then
         html[2] = page.paragraph(("These weights are those of epoch %d of %d, chosen on the same photos: on new ones "
            .. "expect slightly less."):format(run.best.epoch, run.epochs_wanted), "faint")
      end
   else
      html[1] = page.paragraph(run.stopped == "interrupt" and "The training was stopped before anything was measured."
         or "Nothing was measured: there are no held-out photos. Hold some out (val = 0.2), or the number that matters "
            .. "stays unknown.")
   end
   if run.stopped ~= "done" then
      html[#html + 1] = page.paragraph(run.stopped == "interrupt" and ("Stopped in epoch %d of %d; --resume goes on."):format(
         run.epochs_done + 1, run.epochs_wanted) or ("Ended after epoch %d of %d "
            .. "(%s)."):format(run.epochs_done, run.epochs_wanted,
         run.stopped))
   end
   local heads = result and result.heads and #result.heads > 1 and evaluation.heads(result)
   if heads then
      html[#html + 1] = page.table { head = { "classifier", "accuracy" }, align = "lr", rows = heads }
   end
   local facts = {}
   if run.kept then
      local file = "/" .. run.kept .. ".safetensors"
      facts[1] = { "model", run.out .. file }
      facts[2] = { "use it", { html = ("<code>%s</code>"):format(escape(("graft predict %s%s PHOTO"):format(
         phases.quoted(run.out), file))) } }
   end
   facts[#facts + 1] = { "network", ("%s, photos of %d × %d pixels"):format(chapter.network, chapter.input[3],
      chapter.input[2]) }
   facts[#facts + 1] = { chapter.multilabel and "labels" or "classes", page.shorten(table.concat(chapter.classes, ", "), 400) }
   html[#html + 1] = page.facts(facts)
   return { id = "result", title = "Result", html = table.concat(html, "\n") }
end

local function text_of(run)
   local result = run.evaluation
   return table.concat({ require("graft.run").text(run), result and report.classes(result) or nil,
      result and report.confusion(result) or nil }, "\n\n") .. "\n"
end

return function(run)
   local noted = chapters.of(run)
   if not noted then
      core.error("option", "graft.report: this run did not come from graft.fit")
   end
   local chapter, all = noted.chapter, chapters.upto(noted.chapter)
   local sections = { result_section(run, chapter), phases.plan(all), phases.curves(all) }
   if run.evaluation then
      local source = origins.of(run)
      for _, section in ipairs(evaluation.all(run.evaluation, noted.photos, source, patience(chapter))) do
         sections[#sections + 1] = section
      end
   end
   for _, section in ipairs { phases.spent(all), skipped_section(run) or false, phases.again(run.out, chapter) } do
      sections[#sections + 1] = section or nil
   end
   local folder = run.out:match("[^/]+/*$") or run.out
   return { title = "Run " .. folder, subtitle = ("%s on %s classes: %s"):format(chapter.network, format.count(#chapter.classes),
      #all > 1 and format.plural(#all, "phase") or format.plural(chapter.done, "epoch")), sections = sections,
      text = text_of(run) }
end
