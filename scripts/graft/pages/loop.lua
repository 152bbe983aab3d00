-- The page of a recipe that trains in a loop of its own: what it logged, and how to make it again. Which photos are wrong only
-- the recipe knows.

local page = require "graft.page"
local format = require "graft.format"
local chapters = require "graft.chapters"
local phases = require "graft.pages.phases"

local function result_section(chapter, folder)
   local best, last = nil, chapter.rows[#chapter.rows]
   for _, row in ipairs(chapter.rows) do
      local value = tonumber(row.val_accuracy)
      best = value and (not best or value > best.val_accuracy) and row or best
   end
   local model = ("%s/%s.safetensors"):format(folder, best and "best" or "last")
   local told = '<p><span class="big">%.1f %%</span> right, as the recipe logged it for epoch %s, the best.</p>'
   return { id = "result", title = "Result", html = (best and told:format(100 * best.val_accuracy, page.escape(best.epoch or "-"))
      or page.paragraph "The recipe logged no val_accuracy.") .. page.facts {
         { "last loss", tonumber(last.train_loss) and ("%.4f"):format(last.train_loss) }, { "model", model },
         { "use it", best and { html = ("<code>%s</code>"):format(page.escape(("graft predict %s PHOTO"):format(
            phases.quoted(model)))) } },
         { "network", ("%s, photos of %d × %d pixels"):format(chapter.network, chapter.input[3], chapter.input[2]) },
         { "classes", page.shorten(table.concat(chapter.classes, ", "), 400) },
         { "more", { html = ("<code>%s</code> shows its mistakes."):format(page.escape(("graft eval %s DATA --report FILE.html")
            :format(phases.quoted(model)))) } } } }
end

return function(chapter, folder)
   local all = chapters.upto(chapter)
   return { title = "Run " .. (folder:match("[^/]+/*$") or folder), subtitle = ("%s on %s classes, in a loop of the "
      .. "recipe's own"):format(
      chapter.network, format.count(#chapter.classes)), sections = { result_section(chapter, folder), phases.plan(all),
      phases.curves(all), phases.spent(all), phases.again(folder, chapter) } }
end
