-- The feature cache of a fit: a frozen part is a pure function, so its output for each photo is computed once.

local core = require "graft.core"
local data = require "graft.data"
local format = require "graft.format"
local progress = require "graft.progress"

local cache = {}

-- Bytes of memory that kept features may take.
local BUDGET = 1 << 30

-- What this fit will keep: {mode=, layers=, bytes=, photos=, sets=, val=, reason=}. `mode` is "once" (training, and
-- validation when `val`), "validation" (the photos to train on are augmented afresh in every epoch) or "none" (`reason`
-- says why, unless it was asked for). Validation photos of another data set are not kept.
function cache.choose(job)
   local layers, per_photo = core.cut(job.handle)
   local choice = { mode = "none", layers = core.array(layers), bytes = 0, sets = {} }
   if job.options.cache == "none" or #layers == 0 or job.options.epochs < 2 then
      choice.layers = core.array {}
      return choice
   end
   local fresh = #data.augment(job.options.augment, "graft.fit") > 0
   local of = data.handle(job.train, "graft.fit"):dataset()
   local val = job.val and data.handle(job.val, "graft.fit"):dataset() == of
   local sets, photos = {}, 0
   sets[1] = not fresh and job.train or nil
   sets[#sets + 1] = val and job.val or nil
   for _, set in ipairs(sets) do
      photos = photos + #set
   end
   if photos == 0 then
      return choice
   elseif photos * per_photo > BUDGET then
      choice.reason = ("the frozen part's output would take %s for %s, more than the %s that are kept; it runs in every "
         .. "epoch"):format(format.bytes(photos * per_photo), format.plural(photos, "photo"), format.bytes(BUDGET))
      return choice
   end
   choice.mode, choice.sets = fresh and "validation" or "once", sets
   choice.bytes, choice.photos, choice.val = photos * per_photo, photos, val
   return choice
end

-- Runs the frozen part over the sets of a choice. Returns the features, or nil where there are none to keep.
function cache.fill(handle, choice, size)
   if choice.reason then
      progress.line(choice.reason)
   end
   if choice.mode == "none" then
      return nil
   end
   local sets = {}
   for i, set in ipairs(choice.sets) do
      sets[i] = data.handle(set, "graft.fit")
   end
   local bar, started = progress.bar("frozen part", choice.photos), core.clock()
   local features = core.features(handle, sets, { budget = BUDGET, size = size, progress = function(done, total)
      bar:step(done - bar.done, ("%d/%d photos  %.0f/s"):format(done, total, bar:rate()))
   end })
   choice.bytes, choice.photos = features:bytes(), features:photos()
   local text = ("frozen part  %s in %s, kept in memory (%s)"):format(format.plural(choice.photos, "photo"),
      format.seconds(core.clock() - started), format.bytes(choice.bytes))
   bar:line(text)
   bar:finish(text)
   return features
end

-- Names of the layers that lie before the cut, as a set.
function cache.covered(handle, layers)
   local rows, covered = {}, {}
   for _, row in ipairs(handle:layers()) do
      rows[row.name] = row
   end
   local function cover(name)
      if rows[name] and not covered[name] then -- the photo itself has no row
         covered[name] = true
         for _, input in ipairs(rows[name].inputs) do
            cover(input)
         end
      end
   end
   for _, name in ipairs(layers) do
      cover(name)
   end
   return covered
end

return cache
