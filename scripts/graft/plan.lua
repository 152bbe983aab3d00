-- What training would do, told before a minute is spent. Nothing is trained or written, and the network is left as it was:
-- the timing runs on a clone.

local core = require "graft.core"
local context = require "graft.context"
local data = require "graft.data"
local format = require "graft.format"
local feature_cache = require "graft.feature_cache"
local plan_memory = require "graft.plan_memory"

local plan = {}

-- Timed batches: one to warm up, then up to `TIMED`.
local TIMED = 3

-- The first photos of a set, two batches of them, as a set.
local function sample(job, set)
   local positions = {}
   for i = 1, math.min(#set, 2 * job.batch_size) do
      positions[i] = i
   end
   return data.handle(set, "graft.plan"):take(positions)
end

-- Runs `f` on a trainer for a clone of the network, which is gone afterwards.
local function with_clone(job, f)
   local clone = job.handle:clone()
   local trainer = require "graft.trainer"
   local choices = {}
   for key, value in pairs(job.options) do
      choices[key] = value
   end
   choices.steps, choices.batch_size = job.steps, job.batch_size
   local fields = trainer.options(choices, "graft.plan", job.steps_per_epoch)
   fields.at_once = true -- as graft.fit does
   local tr = core.trainer(clone, fields)
   local results = table.pack(f(clone, tr))
   tr:close()
   clone:close()
   return table.unpack(results, 1, results.n)
end

-- Seconds a step takes over batches of this set, and how many were timed.
local function time_batches(job, clone, tr, set, features, view)
   local done, started, first = 0, nil, core.clock()
   for _, _, b in set:batches { net = clone, batch_size = job.batch_size, shuffle = true, epoch = 1, features = features,
      tensors = false, fit = core.fit(), seed = core.seed(), view = view,
      augment = not features and data.augment(job.options.augment, "graft.plan") or nil } do
      tr:step_batch(b)
      if started then
         done = done + 1
      else
         started = core.clock()
      end
      if done == TIMED then
         break
      end
   end
   if done == 0 then -- a single batch: its first time has to do
      return core.clock() - first, 1
   end
   return (core.clock() - started) / done, done
end

-- Features of a sample, which nothing remembers, and seconds a row.
local function time_features(job, clone, set, views)
   local started = core.clock()
   local features = core.features(clone, { set }, { remember = false,
      prefix = job.options.prefix, budget = math.maxinteger, views = views,
      augment = data.augment(job.options.augment, "graft.plan"), seed = core.seed() })
   return features, (core.clock() - started) / math.max(1, features:photos())
end

-- Seconds of the frozen part (once) and of an epoch for the validation photos.
local function time_validation(job, clone, cache)
   if not job.val then
      return 0, 0
   end
   local set, features, once = sample(job, job.val), nil, 0
   if cache.val then
      features, once = time_features(job, clone, set, 0)
   end
   local started = core.clock()
   core.evaluate(clone, set, { batch_size = job.batch_size, features = features, remembered = false,
      prefix = job.options.prefix })
   local photo = (core.clock() - started) / set:count()
   if features then
      features:close()
   end
   return once * #job.val, photo * #job.val
end

-- What training will take, from a few batches: seconds of the frozen part (once), of an epoch, and the batches timed.
local function time_training(job, cache)
   return with_clone(job, function(clone, tr)
      local once_val, val = time_validation(job, clone, cache)
      local set = sample(job, job.train)
      if not cache.train then
         tr:calibrate(set)
         local step, timed = time_batches(job, clone, tr, set, nil, feature_cache.view(cache, 1))
         return once_val, step * job.steps_per_epoch + val, timed
      end
      local features, row = time_features(job, clone, set, math.min(cache.views, 2))
      tr:use(features)
      local step, timed = time_batches(job, clone, tr, set, features, feature_cache.view(cache, 1))
      tr:use(nil)
      features:close()
      return row * #job.train * math.max(cache.views, 1) + once_val, step * job.steps_per_epoch + val, timed
   end)
end

-- Bytes of decoded photos that training will keep, judged by those that the timing has decoded. Photos that are read
-- once, to keep what the frozen part makes of them, are not kept.
local function decoded_bytes(job, cache)
   local handle = data.handle(job.train, "graft.plan"):dataset()
   local bytes, most, photos = handle:decoded()
   local train, val = not cache.train or cache.views > 1, job.val and not cache.val
   local all = (train and #job.train or 0) + (val and #job.val or 0)
   return photos > 0 and math.min(most, math.ceil(bytes / photos * all)) or 0
end

local function stage_of_layers(handle)
   local stages = {}
   for _, row in ipairs(handle:layers()) do
      stages[row.name] = (row.head and row.parameters > 0 and row.name) or (row.aux and row.name) or row.stage
   end
   return stages
end

local function joined(set)
   local names = {}
   for name in pairs(set) do
      names[#names + 1] = name
   end
   table.sort(names)
   return #names > 0 and table.concat(names, ", ") or "-"
end

local function merge(value, other)
   if value == nil or value == other then
      return other
   end
   return "mixed"
end

-- One row a stage (the classifier's layers each have their own).
local function group(rows, stages, lr)
   local groups, last = {}, nil
   for _, row in ipairs(rows) do
      local key = stages[row.name] or (row.parameters > 0 and row.name)
      if key then
         if not last or last.name ~= key then
            last = { name = key, parameters = 0, kernels = {} }
            groups[#groups + 1] = last
         end
         last.shape, last.parameters = row.shape, last.parameters + row.parameters
         last.cached = row.cached and (row.cut and "here" or "|") or nil
         if row.parameters > 0 then
            last.source = merge(last.source, row.source)
            last.state = merge(last.state, row.trainable and "trained" or "frozen")
            if row.trainable then
               last.lr = merge(last.lr, format.rate(lr * row.lr_scale))
            end
            if not row.kernel:match("^%(") and not row.batch_norm then
               last.kernels[row.kernel] = true
            end
         end
         if row.batch_norm then
            last.norm = merge(last.norm, row.batch_norm)
         end
      end
   end
   return groups
end

local function layer_table(rows, stages, lr)
   local lines = { { "layer", "output", "parameters", "weights from", "state", "lr", "batch norm", "kernel", "cached" } }
   for _, g in ipairs(group(rows, stages, lr)) do
      lines[#lines + 1] = { g.name, format.shape(g.shape), format.count(g.parameters), g.source or "-", g.state or "-",
         g.lr or "-", g.norm or "-", joined(g.kernels), g.cached or "" }
   end
   return format.columns(lines, "llrllllll", "  ")
end

-- Why these kernels: the estimates for all layers that have the same one, and for the best of the others.
local function kernels_line(document)
   local sums, order = {}, {}
   for _, row in ipairs(document.layers) do
      local candidates = row.candidates or {}
      for i, candidate in ipairs(candidates) do
         local sum = sums[row.kernel]
         if not sum then
            sum = { name = row.kernel, layers = 0, ms = {}, names = {} }
            sums[row.kernel], order[#order + 1] = sum, sum
         end
         sum.layers = sum.layers + (i == 1 and 1 or 0)
         if not sum.ms[candidate.kernel] then
            sum.names[#sum.names + 1] = candidate.kernel
         end
         sum.ms[candidate.kernel] = (sum.ms[candidate.kernel] or 0) + candidate.ms
      end
   end
   local parts = {}
   for i, sum in ipairs(order) do
      local times = {}
      for j, name in ipairs(sum.names) do
         times[j] = ("%s%s"):format(j > 1 and "with " .. name .. " " or "", format.seconds(sum.ms[name] / 1000))
      end
      parts[i] = ("%s in %s (%s)"):format(sum.name, format.plural(sum.layers, "layer"), table.concat(times, "; "))
   end
   return #parts > 0 and ("%s%s; estimates for a batch forward"):format(document.exact and "exact ones only: " or "",
      table.concat(parts, "; ")) or nil
end

local function weights_line(report)
   local function names(list)
      if #list == 0 then
         return "none"
      end
      local text = table.concat(list, ", ", 1, math.min(#list, 6))
      return #list > 6 and ("%s and %d more"):format(text, #list - 6) or text
   end
   return ("missing: %s.  unused: %s"):format(names(report.missing), names(report.unused))
end

-- The document of one phase: the keys of `plan --json`, and what the text needs besides.
local function describe(job)
   local d = data.handle(job.data, "graft.plan")
   local input = job.handle:input_shape()
   if d:size() then
      input = { input[1], d:size(), d:size() }
   end
   local compiled = job.handle:plan { input = input, capacity = job.batch_size, training = true,
      stash = job.options.stash, prefix = job.options.prefix }
   local cache = feature_cache.choose(job)
   if cache.train then
      local covered, cut = feature_cache.covered(job.handle, cache.layers), {}
      for _, name in ipairs(cache.layers) do
         cut[name] = true
      end
      for _, row in ipairs(compiled.rows) do
         row.cached, row.cut = covered[row.name] or false, cut[row.name]
      end
   end
   local once, epoch, timed = time_training(job, cache)
   local decoded = decoded_bytes(job, cache)
   local report = context.reports[job.handle] or { missing = {}, unused = {} }
   return {
      layers = core.array(compiled.rows),
      exact = job.handle:exact(),
      stash = { kind = job.options.stash, activations = compiled.stashes, bytes = compiled.stashed },
      parameters = job.handle:parameters(),
      trainable_parameters = job.handle:parameters(true),
      planned_memory = plan_memory.peak(job, cache, input, decoded),
      decoded_photos = decoded,
      seconds_per_epoch = epoch,
      seconds_once = once,
      cache = { mode = cache.mode, layers = cache.layers, bytes = cache.bytes, photos = cache.photos,
         where = cache.where or "nowhere", text = feature_cache.text(job, cache) },
      missing = core.array(report.missing),
      unused = core.array(report.unused),
      name = job.options.name or core.null,
      epochs = job.options.epochs,
      batch_size = job.batch_size,
      prefix = job.options.prefix,
      steps_per_epoch = job.steps_per_epoch,
   }, timed
end

-- nil where activations stay what they are.
local function stash_line(document)
   local stash = document.stash
   if stash.kind == "none" then
      return nil
   end
   return ("%s kept as %s for the backward pass, %s instead of %s"):format(
      format.plural(stash.activations, "activation"), stash.kind, format.bytes(stash.bytes), format.bytes(2 * stash.bytes))
end

local function memory_line(document)
   local decoded = document.decoded_photos
   return format.bytes(document.planned_memory)
      .. " at the most: weights, optimizer, activations, gradients, batches and what is kept"
      .. (decoded > 0 and (", %s of it for decoded photos"):format(format.bytes(decoded)) or "")
end

local function time_line(job, document, timed)
   local once, epochs = document.seconds_once, job.options.epochs
   local each = document.seconds_per_epoch
   return ("about %s: %s%d epochs of %s   (from %s)"):format(format.seconds(once + each * epochs),
      once > 0 and ("the frozen part %s, then "):format(format.seconds(once)) or "", epochs, format.seconds(each),
      format.plural(timed, "timed batch", "timed batches"))
end

local function text_of(job, document, timed, number)
   local o = job.options
   local augment = type(o.augment) == "string" and o.augment ~= "none" and o.augment .. " augmentation"
      or (type(o.augment) == "table" and "own augmentation") or "no augmentation"
   local head = ("phase %d%s   %d epochs of %s, batch %d, %s, %s; %s; seed %d, %s"):format(number,
      o.name and (' "%s"'):format(o.name) or "", o.epochs, format.plural(job.steps_per_epoch, "step"), job.batch_size,
      tostring(o.optimizer), tostring(o.schedule or "constant"), augment, core.seed(),
      format.plural(core.threads(), "thread"))
   local rows = {
      { "trained", format.share(document.trainable_parameters, document.parameters) },
      { "weights", weights_line(document) },
      { "kernels", kernels_line(document) or "one for each kind of layer" },
      { "cache", document.cache.text },
   }
   local stash = stash_line(document)
   rows[#rows + 1] = stash and { "stash", stash } or nil
   for _, row in ipairs {
      { "memory", memory_line(document) },
      { "time", time_line(job, document, timed) },
   } do
      rows[#rows + 1] = row
   end
   if document.prefix ~= "float32" then
      table.insert(rows, 3, { "prefix", ("the convolutions of the frozen part in %s, where that is faster"):format(
         format.precision(document.prefix)) })
   end
   return table.concat({ head,
      layer_table(document.layers, stage_of_layers(job.handle), o.optimizer.lr),
      format.columns(rows) }, "\n")
end

-- A run that was planned, not made: reading what would have been measured ends the planning.
local function planned_run(job)
   local known = { name = job.options.name, epochs_wanted = job.options.epochs, state = {}, out = context.options_out }
   return setmetatable({}, {
      __name = "graft.run",
      __tostring = function()
         return "(planned, not trained)"
      end,
      __index = function(_, key)
         if known[key] ~= nil then
            return known[key]
         end
         context.finish { planned = "run." .. tostring(key) }
      end,
   })
end

-- What fit does while a recipe is planned.
function plan.phase(job)
   local document, timed = describe(job)
   context.phases = context.phases or {}
   table.insert(context.phases, document)
   if not context.json then
      print(text_of(job, document, timed, #context.phases))
   end
   return planned_run(job)
end

-- graft.plan(net, data, options): prints as `graft plan` does; options as of fit.
function plan.print(net, d, options)
   local job = require("graft.fit").prepare(net, d, options)
   local document, timed = describe(job)
   print(text_of(job, document, timed, 1))
   print("Nothing was trained or written.")
end

return plan
