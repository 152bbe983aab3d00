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

-- Bytes of a fit's stages. `cache`: feature_cache.choose; `input`: the photos' shape.
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

-- The most bytes at once; `decoded`: those of photos that stay in memory. Photos that are being decoded come on top.
function memory.peak(job, cache, input, decoded)
   local most = 0
   for _, bytes in pairs(memory.stages(job, cache, input)) do
      most = math.max(most, bytes)
   end
   return tensor_bytes(job.handle) + (cache.where == "memory" and cache.bytes or 0) + decoded + most
end

return memory
