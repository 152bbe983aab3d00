-- The feature cache of a fit: a frozen part is a pure function, so its output for each photo is computed once.

local core = require "graft.core"
local data = require "graft.data"
local format = require "graft.format"
local progress = require "graft.progress"
local strict = require "graft.strict"

local cache = {}

local MOST_VIEWS = 1000

-- --- the option cache= ---

local function views_of(count, who)
   if not count or count < 1 or count > MOST_VIEWS then
      core.error("option", ("%s: cache: the views of a photo are 1 to %s, got %s"):format(who, format.count(MOST_VIEWS),
         tostring(count)))
   end
   return count
end

-- "auto", "none", "pool:K", { pool = K, memory = BYTES } -> {mode="auto"|"none"|"pool", pool=K, memory=}
function cache.option(value, who)
   if type(value) == "table" then
      local given = strict.options(value, who .. ": cache", { pool = "integer", memory = "integer" })
      if given.memory and given.memory < 0 then
         core.error("option", ("%s: cache: memory is a number of bytes from 0 on, got %d"):format(who, given.memory))
      end
      return { mode = given.pool and "pool" or "auto", pool = given.pool and views_of(given.pool, who),
         memory = given.memory }
   elseif value == nil or value == "auto" or value == "none" then
      return { mode = value or "auto" }
   end
   local count = value:match("^pool:(%d+)$")
   if count then
      return { mode = "pool", pool = views_of(math.tointeger(tonumber(count)), who) }
   end
   local known = { "auto", "none", "pool:4" }
   core.error("option", ('%s: cache must be "auto" (keep what stays the same), "none", "pool:K" (K views of each photo) or '
      .. 'a table such as { pool = 4, memory = 2 << 30 }, got "%s"'):format(who, value), core.nearest(value, known))
end

-- How the mode of an option is called: "auto", "none" or "pool:4".
function cache.name(option)
   return option.mode == "pool" and "pool:" .. option.pool or option.mode
end

-- --- what a fit will keep ---

-- Raises when a pool was asked for that would be another mode in truth.
local function check_pool(job, layers, augment)
   local asked = cache.name(job.cache_option)
   if #layers == 0 then
      core.error("option", ('graft.fit: cache = "%s" keeps what a frozen part makes of the photos, and nothing at the bottom '
         .. 'of this network is frozen; net:freeze("body"), or cache = "auto"?'):format(asked))
   elseif #augment == 0 then
      core.error("option", ('graft.fit: cache = "%s" keeps augmented views of the photos, and nothing augments them; say '
         .. 'augment = "light", or cache = "auto", which keeps each photo once'):format(asked))
   end
   for _, one in ipairs(augment) do
      if one.kind == "mixup" then
         core.error("option", ('graft.fit: cache = "%s" cannot keep photos that mixup mixes anew in every batch: it mixes them '
            .. 'before the frozen part; leave mixup out, or cache = "auto"'):format(asked))
      end
   end
end

-- The view that an epoch trains on: views take turns. 0: photos as they are, or augmented afresh.
function cache.view(choice, epoch)
   return choice.pool and (epoch - 1) % choice.pool + 1 or 0
end

-- What this fit will keep. `mode` is one of
--    "once"        training photos as they are (and validation photos when `val`)
--    "pool:K"      K views of each training photo (`pool` = K), in turns; validation photos as they are
--    "validation"  the photos to train on are augmented afresh in every epoch
--    "none"        nothing
-- `train`, `val`: are rows of these kept? A pool whose views are used but once keeps none of them. Validation photos of
-- another data set are not kept. sets, views: as core.features takes them; photos: rows; bytes; where: "memory" or "file".
function cache.choose(job)
   local handle, option = data.handle(job.train, "graft.fit"):dataset(), job.cache_option
   local layers, per_row = core.cut(job.handle, handle:size())
   local augment = data.augment(job.options.augment, "graft.fit")
   local choice = { mode = "none", layers = core.array(layers), bytes = 0, photos = 0, sets = {}, views = 0, hits = 0 }
   if option.mode == "pool" then
      check_pool(job, layers, augment)
      choice.mode, choice.pool = cache.name(option), option.pool
   end
   if option.mode == "none" or #layers == 0 or job.options.epochs < 2 then
      choice.layers = core.array {}
      return choice
   end
   choice.train = #augment == 0 or (choice.pool ~= nil and choice.pool < job.options.epochs)
   choice.val = job.val and data.handle(job.val, "graft.fit"):dataset() == handle or false
   if choice.train then
      choice.views = choice.pool or 0
      choice.sets[1], choice.photos = job.train, #job.train * math.max(1, choice.views)
   end
   if choice.val then
      choice.sets[#choice.sets + 1], choice.photos = job.val, choice.photos + #job.val
   end
   if choice.photos == 0 then
      return choice
   end
   choice.mode = choice.pool and choice.mode or choice.train and "once" or "validation"
   choice.bytes = choice.photos * per_row
   choice.budget = option.memory or core.memory().share
   choice.where = choice.bytes <= choice.budget and "memory" or "file"
   return choice
end

-- "244 photos in 4 views each and 153 as they are"
local function rows_text(job, choice)
   local train, val = choice.train and #job.train or 0, choice.val and #job.val or 0
   if choice.views == 0 then
      return format.plural(train + val, "photo")
   end
   return ("%s in %s each%s"):format(format.plural(train, "photo"), format.plural(choice.views, "view"),
      val > 0 and (" and %s as they are"):format(format.count(val)) or "")
end

-- One line for the plan.
function cache.text(job, choice)
   local epochs, pool = job.options.epochs, choice.pool
   local notes = {}
   if pool and not choice.train then
      notes[1] = ("%s: in %s no view comes twice, so none is kept"):format(choice.mode, format.plural(epochs, "epoch"))
   end
   if choice.bytes > 0 then
      notes[#notes + 1] = ("output of %s, %s x %s = %s in %s"):format(table.concat(choice.layers, ", "),
         rows_text(job, choice), format.bytes(choice.bytes // choice.photos), format.bytes(choice.bytes),
         choice.where == "file" and ("a file of the run folder (more than the %s of memory that "
         .. "the cache may take)"):format(format.bytes(choice.budget)) or "memory")
   end
   if choice.train then
      notes[#notes + 1] = ("the frozen part runs %s, not %s"):format(pool and pool > 1 and format.plural(pool, "time") or "once",
         format.plural(epochs, "time"))
      notes[#notes + 1] = pool and "the views take turns" or nil
   elseif choice.mode == "validation" then
      notes[#notes + 1] = "the photos to train on are augmented afresh, so only the others are kept"
   end
   return #notes > 0 and table.concat(notes, "; ") or "none"
end

-- --- keeping it ---

-- Takes the files of a fit that is done out of its folder.
function cache.clean(folder)
   for _, name in ipairs(core.list(folder)) do
      if name:find("^features%-%x+%.rows$") then
         core.remove(folder .. "/" .. name)
      end
   end
end

-- A choice of which nothing is kept.
function cache.none(choice)
   choice.train, choice.val, choice.bytes, choice.photos, choice.layers = false, false, 0, 0, core.array {}
end

-- Nothing is kept after all: the same training, but the frozen part runs in every epoch. What was written makes room.
local function keep_nothing(choice, why, folder)
   if folder then
      core.forget()
      cache.clean(folder)
   end
   progress.line(why .. "; so nothing is kept, and the frozen part runs in every epoch")
   choice.mode = choice.pool and choice.mode or "none"
   cache.none(choice)
end

local function place_text(features, folder)
   return features:in_file() and ("in %s until this fit ends"):format(folder) or "in memory"
end

-- What was computed and what was there, in words.
local function done_text(job, choice, features, seconds, folder)
   local found, all = features:found(), features:photos()
   local bytes = ("(%s)"):format(format.bytes(choice.bytes))
   if found == all then
      return ("frozen part  %s found %s %s"):format(rows_text(job, choice), features:in_file() and "in " .. folder
         or "in memory", bytes)
   end
   return ("frozen part  %s in %s, kept %s %s%s"):format(rows_text(job, choice), format.seconds(seconds),
      place_text(features, folder), bytes,
      found > 0 and ("; %s of the %s were there"):format(format.count(found), format.count(all)) or "")
end

-- Runs the frozen part over the sets of a choice. Returns the features, or nil where there are none to keep. Without a folder
-- there is no file to keep them in.
function cache.fill(job, choice, folder)
   if choice.bytes == 0 then
      return nil
   elseif choice.where == "file" and not folder then
      return keep_nothing(choice, ("what the frozen part makes of the photos takes %s, more than the %s of memory that the cache "
         .. "may take"):format(format.bytes(choice.bytes), format.bytes(choice.budget)))
   end
   local sets = {}
   for i, set in ipairs(choice.sets) do
      sets[i] = data.handle(set, "graft.fit")
   end
   local bar, started = progress.bar("frozen part", choice.photos), core.clock()
   local ok, features = pcall(core.features, job.handle, sets, { budget = choice.budget, folder = folder,
      size = data.handle(job.data, "graft.fit"):size(), views = choice.views, augment = job.augment, seed = core.seed(),
      prefix = job.options.prefix, progress = function(done, total)
         bar.total = total -- some may have been found
         bar:step(done - bar.done, ("%d/%d photos  %.0f/s"):format(done, total, bar:rate()))
      end })
   if not ok and core.is_error(features) and features.kind == "file" then
      bar:clear()
      return keep_nothing(choice, features.message, folder)
   elseif not ok then
      bar:clear()
      error(features, 0)
   end
   choice.bytes, choice.photos = features:bytes(), features:photos()
   choice.where = features:in_file() and "file" or "memory"
   local text = done_text(job, choice, features, core.clock() - started, folder)
   bar:line(text)
   bar:finish(text)
   return features
end

-- Passes over the frozen part that a run was spared: of the training photos, else of the validation photos.
function cache.saved(kept, epochs)
   if kept.bytes == 0 or epochs < 2 then
      return nil
   elseif kept.mode == "validation" then
      return ("the cache saved %s of the validation photos through the frozen part"):format(
         format.plural(epochs - 1, "pass", "passes"))
   end
   local passes = epochs - (math.tointeger(tonumber(kept.mode:match("^pool:(%d+)"))) or 1)
   return passes > 0 and ("the cache saved %s over the frozen part"):format(format.plural(passes, "pass", "passes")) or nil
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
