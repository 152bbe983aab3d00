-- The most memory that a fit will hold at once, told before it begins: weights, optimiser, activations, gradients, batches,
-- kept features and photos. What a fit does one after the other does not add up: the largest of its stages counts.

local core = require "graft.core"
local data = require "graft.data"

local memory = {}

local FLOAT = 4 -- bytes
local FROZEN_BATCH = 8 -- photos that the frozen part takes at once (runtime/train/frozen.h)
local HALVES = 2 -- batches that a loader holds: one in use, one being filled

local function tensor_bytes(handle, trained_only)
   local bytes = 0
   for _, tensor in ipairs(handle:tensors()) do
      if not (trained_only and (tensor.frozen or tensor.buffer)) then
         local size = tensor.dtype == "i64" and 8 or FLOAT
         for _, n in ipairs(tensor.shape) do
            size = size * n
         end
         bytes = bytes + size
      end
   end
   return bytes
end

-- Numbers that the optimiser keeps for each trained one.
local function moments(optimizer)
   local kind = optimizer.name
   if kind == "adam" or kind == "adamw" then
      return 2
   end
   local momentum = (optimizer.momentum or 0) > 0 and 1 or 0
   return kind == "rmsprop" and 1 + momentum + (optimizer.centered and 1 or 0) or momentum
end

-- Photos that are decoded to see what that takes: the largest files, those of the last third of an epoch, and some of all.
local LARGEST, SPREAD = 4, 9
local LATE = 2 / 3

-- Bytes that a photo takes for a moment while it is decoded and made as small as the network wants it.
local function decoding_of(handle, file)
   core.reset_peak()
   local before = core.memory().live
   local ok = pcall(core.preprocess, handle, file)
   return ok and core.memory().peak - before or 0 -- what cannot be read is told by those who read it
end

-- What decoding photos of a set takes: {photos = { {bytes=, at=}, ... }, typical=, most=} in bytes. `order`: the positions in the
-- order in which the first epoch visits them; `at` is the part of the epoch that lies before the photo.
local function decoding(job, set, order)
   local files, all = {}, set and #set or 0
   for i = 1, all do
      local file = set[order and order[i] or i].file -- pictures that lie in one file (IDX) have names that are no paths, and
      local known, stat = pcall(core.stat, file) -- are not decoded
      files[#files + 1] = known and stat and { path = file, size = stat.size, at = (i - 1) / all } or nil
   end
   local photos, usual = {}, {}
   local function measure(file)
      if not file.bytes then
         file.bytes = decoding_of(job.handle, file.path)
         photos[#photos + 1] = file
      end
      return file.bytes
   end
   for i = 1, #files, math.max(1, #files // SPREAD) do
      usual[#usual + 1] = measure(files[i])
   end
   table.sort(usual)
   table.sort(files, function(a, b)
      return a.size > b.size or a.size == b.size and a.at < b.at
   end)
   local found, late = 0, 0
   for _, file in ipairs(files) do
      if found < LARGEST or late < LARGEST and file.at >= LATE then
         measure(file)
         found, late = found + 1, late + (file.at >= LATE and 1 or 0)
      end
   end
   local most = 0
   for _, photo in ipairs(photos) do
      most = math.max(most, photo.bytes)
   end
   local typical = usual[#usual // 2 + 1] or 0
   return { photos = photos, typical = typical, most = most + (core.threads() - 1) * typical }
end

-- The most bytes of decoded photos during a first pass that keeps them: `kept` at its end. One thread is at one of the photos
-- that were measured, the others at usual ones. Before `from`, the part of the first batch, no plan is there yet.
local function first_pass(read, kept, from)
   local most = kept + core.threads() * read.typical
   for _, photo in ipairs(read.photos) do
      if photo.at >= from then
         most = math.max(most, photo.at * kept + photo.bytes + (core.threads() - 1) * read.typical)
      end
   end
   return most
end

-- Bytes of a fit's stages, without those of photos. `cache`: feature_cache.choose; `input`: the photos' shape.
function memory.stages(job, cache, input)
   local handle, photo = job.handle, input[1] * input[2] * input[3] * FLOAT
   local cut, row = core.cut(handle, data.handle(job.data, "graft.plan"):size())
   local precision = job.options.prefix or "float32"
   local function plan(fields)
      fields.input, fields.prefix = input, fields.prefix or precision
      return handle:plan(fields).memory
   end
   local function prefix(set, of)
      local n = math.min(FROZEN_BATCH, #set)
      return plan { capacity = n, layers = cut, lean = true, prefix = of } + n * (HALVES * photo + row)
   end
   local state = moments(job.options.optimizer) * tensor_bytes(handle, true)
   local stages = {}
   if cache.bytes > 0 then
      stages.frozen = math.max(cache.train and prefix(job.train) or 0, cache.val and prefix(job.val) or 0)
   end
   local step = plan { capacity = job.batch_size, training = true, at_once = not ((job.options.clip or 0) > 0),
      stash = job.options.stash, inputs = cache.train and cut or nil }
   stages.training = state + step + HALVES * job.batch_size * (cache.train and row or photo)
   if precision == "int8" then -- calibration, before anything is compiled for the trainer
      stages.calibration = state + prefix(job.train, "float32")
   end
   if job.val then
      local n = math.min(job.batch_size, #job.val)
      local head = plan { capacity = n, inputs = #cut > 0 and cut or nil }
      if cache.val then -- the trainer's plan stays
         stages.validation = state + step + head + HALVES * math.min(FROZEN_BATCH, #job.val) * row
      else
         stages.validation = state + head + (#cut > 0 and prefix(job.val) or HALVES * n * photo)
      end
      if precision ~= "float32" then -- at the end, without the trainer
         stages.float32 = head + prefix(job.val, "float32")
      end
   end
   return stages
end

-- What decoded photos add to each stage. `decoded`: see memory.peak.
local function photos_of_stages(job, cache, decoded)
   local set = data.handle(job.train, "graft.plan")
   local train = decoding(job, job.train, set:order(core.fit(), 1))
   local val = decoding(job, job.val)
   local kept = decoded.train + decoded.val
   local training, validation = decoded.train, kept
   if not cache.train then
      training = first_pass(train, decoded.train, job.batch_size / #job.train)
   end
   if job.options.epochs > 1 then -- also the validation's, and whatever there was no room for is decoded again
      training = math.max(training, kept + ((decoded.all or cache.train) and 0 or train.most))
   end
   if not cache.val then
      validation = math.max(decoded.train + first_pass(val, decoded.val, 0), kept + (decoded.all and 0 or val.most))
   end
   return {
      frozen = math.max(cache.train and first_pass(train, decoded.train, 0) or 0, cache.train and train.most or 0,
         cache.val and val.most or 0),
      training = training,
      calibration = train.most,
      validation = validation,
      float32 = kept + val.most,
   }
end

-- The most bytes at once. `decoded`: of photos of a set that stay in memory: decoded.train, decoded.val; decoded.all: are these
-- all that there are? `others`: bytes of features that are remembered of other fits.
function memory.peak(job, cache, input, decoded, others)
   local stages, add = memory.stages(job, cache, input), photos_of_stages(job, cache, decoded)
   local most = 0
   for stage, bytes in pairs(stages) do
      most = math.max(most, bytes + add[stage])
   end
   return tensor_bytes(job.handle) + (cache.where == "memory" and cache.bytes or 0) + others + most
end

return memory
