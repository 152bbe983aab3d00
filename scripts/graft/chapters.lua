-- What the page of a run tells of each fit and of each loop of a recipe's own, noted at its end: the chapters of one page.
-- These tables are the program's own: a recipe holds its runs, and may change them.

local core = require "graft.core"
local data = require "graft.data"
local feature_cache = require "graft.feature_cache"
local origins = require "graft.origins"
local plan = require "graft.plan"

local chapters = {}

local MOST = 40 -- fits on a page: the latest

local list = {} -- of this Lua state, in order
local of_run = setmetatable({}, { __mode = "k" }) -- run -> {chapter=, photos=}

local function augment_text(augment)
   if augment == nil or augment == "none" then
      return "none"
   end
   return type(augment) == "string" and augment or "the recipe's own"
end

local function copy_rows(rows)
   local copies = {}
   for i, row in ipairs(rows) do
      local copy = {}
      for key, value in next, row do
         copy[key] = value
      end
      copies[i] = copy
   end
   return copies
end

-- The stages as graft plan shows them: {name=, shape=, parameters=, source=, state=, lr=, norm=, cached=}.
local function stages(handle, number, sources, lr, cached)
   local rows, covered = handle:layers(), feature_cache.covered(handle, cached)
   for _, row in ipairs(rows) do
      row.trainable, row.kernel = row.parameters > 0 and not row.frozen, "(none)"
      row.batch_norm = row.norm and ((row.frozen or row.fixed_norm) and "fixed" or "train") or nil
      row.source = row.parameters > 0 and (sources[row.name] or "new, random") or nil
      row.cached = covered[row.name]
   end
   plan.trace_weights(handle, rows, number)
   return plan.stages(handle, rows, lr)
end

-- Of all photos of a set, those that a page shows: the surest mistakes and the least sure answers.
chapters.SHOWN = 12

local function first(photos, before, wanted)
   local chosen, order = {}, {}
   for i, photo in ipairs(photos) do
      order[photo] = i
      if wanted(photo) then
         chosen[#chosen + 1] = photo
      end
   end
   local function key(photo)
      local value = before(photo)
      return value == value and value or math.huge -- not a number: last
   end
   table.sort(chosen, function(a, b)
      local x, y = key(a), key(b)
      return x < y or x == y and order[a] < order[b]
   end)
   return table.move(chosen, 1, math.min(#chosen, chapters.SHOWN), 1, {}), #chosen
end

function chapters.select(photos)
   local is_wrong = function(photo)
      return photo.said and photo.said ~= photo.class or (photo.wrong or 0) > 0
   end
   local mistakes, wrong = first(photos, function(photo)
      return photo.said and photo.p - photo.p_said or -math.abs((photo.given and 1 or 0) - photo.p)
   end, is_wrong)
   local shown = {}
   for _, photo in ipairs(mistakes) do
      shown[photo] = true
   end
   local unsure = first(photos, function(photo)
      return photo.margin
   end, function(photo)
      return not shown[photo]
   end)
   return { mistakes = mistakes, wrong = wrong, unsure = unsure }
end

-- Where the weights of each layer come from as a fit begins; reading the best ones back from a file blurs that.
function chapters.sources(handle)
   local sources = {}
   for _, row in ipairs(handle:layers()) do
      sources[row.name] = row.source
   end
   return sources
end

local function add(chapter)
   list[#list + 1] = chapter
   if #list > MOST then
      table.remove(list, 1)
   end
   return chapter
end

-- Notes a fit that has ended. `photos`: what its evaluation said of each, or nil.
function chapters.add(job, state, run, photos)
   local o, number = job.options, #list + 1
   local chapter = { number = number, name = o.name, rows = copy_rows(state.rows), done = state.epoch, wanted = o.epochs,
      stopped = state.stopped, optimizer = tostring(o.optimizer), schedule = tostring(o.schedule or "constant"),
      augment = augment_text(o.augment), batch_size = job.batch_size, steps = job.steps_per_epoch, train = #job.train,
      val = job.val and #job.val or 0, monitor = o.monitor, best = run.best and run.best.epoch, kept = run.kept, clip = o.clip,
      prefix = o.prefix, stash = o.stash, parameters = job.handle:parameters(), trained = job.handle:parameters(true),
      seed = run.seed, threads = run.threads, network = job.handle:name(), input = job.handle:input_shape(),
      cache = { mode = run.cache.mode, bytes = run.cache.bytes, where = run.cache.where, layers = run.cache.layers },
      saved = feature_cache.saved(run.cache, state.epoch), seconds = run.seconds, peak_memory = run.peak_memory,
      process_memory = run.process_memory, frozen_tensors = run.frozen_tensors, frozen_digest = run.frozen_digest_after,
      digest = run.digest, multilabel = job.handle:multilabel(), classes = job.handle:classes(),
      stages = stages(job.handle, number, state.sources, o.optimizer.lr, job.cache.train and job.cache.layers or {}) }
   add(chapter)
   of_run[run] = { chapter = chapter, photos = photos and chapters.select(photos) }
   if job.val then
      origins.note(run, job.net, job.handle, data.handle(job.val, "graft.fit"), job.batch_size)
   end
end

-- ---- loops of graft.trainer ----

local loops = setmetatable({}, { __mode = "k" }) -- entry of context.modes -> what is noted of the loop under way

-- A loop begins.
function chapters.begin_loop(entry, state)
   loops[entry] = { rows = {}, started = core.clock(), state = state, sources = chapters.sources(state.handle) }
end

-- A row that it logged.
function chapters.log(entry, row)
   table.insert(loops[entry].rows, row)
end

local function loop_chapter(noted, handle, digest)
   local state, number = noted.state, #list + 1
   add { number = number, loop = true, rows = noted.rows, done = #noted.rows, wanted = state.epochs or #noted.rows,
      optimizer = tostring(state.optimizer), schedule = tostring(state.schedule or "constant"), steps = state.core:steps(),
      best = state.best_epoch, kept = state.best and "best" or "last", prefix = state.fields.prefix or "float32",
      parameters = handle:parameters(), trained = handle:parameters(true), network = handle:name(), input = handle:input_shape(),
      stages = stages(handle, number, noted.sources, state.optimizer.lr, {}), cache = { bytes = 0 }, seed = core.seed(),
      threads = core.threads(), seconds = core.clock() - noted.started, peak_memory = core.memory().peak,
      process_memory = require("graft.process").peak(), digest = digest, multilabel = handle:multilabel(),
      classes = handle:classes() }
end

-- A loop has ended; `digest` of the network that came out.
function chapters.end_loop(entry, handle, digest)
   local noted = loops[entry]
   loops[entry] = nil
   if noted and #noted.rows > 0 then
      pcall(loop_chapter, noted, handle, digest)
   end
end

-- Writes the page of a recipe whose last training was a loop. As with a fit, it is no reason to fail.
function chapters.write_loop(folder)
   local last = list[#list]
   if last and last.loop then
      pcall(function()
         core.write(folder .. "/report.html", require("graft.page").html(require "graft.pages.loop"(last, folder)), true)
      end)
   end
end

-- What was noted of a run; nil for a table that only looks like one.
function chapters.of(run)
   return of_run[run]
end

-- The chapters up to and including one.
function chapters.upto(chapter)
   local all = {}
   for _, one in ipairs(list) do
      all[#all + 1] = one.number <= chapter.number and one or nil
   end
   return #all > 0 and all or { chapter }
end

return chapters
