-- What training would do, told before a minute is spent. Nothing is trained or written, and the network is left as it was:
-- the timing runs on a clone.

local core = require "graft.core"
local context = require "graft.context"
local data = require "graft.data"
local format = require "graft.format"
local feature_cache = require "graft.feature_cache"
local lock = require "graft.lock"
local plan_memory = require "graft.plan_memory"
local show = require "graft.show"

local plan = {}

-- Timed batches: one to warm up, then up to `TIMED`, or as many as `ENOUGH` seconds take.
local TIMED = 3
local ENOUGH = 4

-- The first photos of a set, so many batches of them, as a set.
local function sample(job, set, batches)
   local positions = {}
   for i = 1, math.min(#set, batches * job.batch_size) do
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
   local draws = core.draws() -- a loss written in Lua may draw random numbers
   local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      core.draws(draws)
      tr:close()
      clone:close()
   end })
   return f(clone, tr)
end

-- Seconds a step takes over batches of this set, and how many were timed. Rows of features are gone through several times.
local function time_batches(job, clone, tr, set, features, view)
   local done, started, first, passes = 0, nil, core.clock(), features and TIMED + 1 or 1
   local function is_enough()
      return done == TIMED or done > 0 and core.clock() - first > ENOUGH
   end
   for pass = 1, passes do
      for _, _, b in set:batches { net = clone, batch_size = job.batch_size, shuffle = true, epoch = pass, features = features,
         tensors = false, fit = core.fit(), seed = core.seed(), view = view,
         augment = not features and data.augment(job.options.augment, "graft.plan") or nil } do
         tr:step_batch(b)
         if started then
            done = done + 1
         else
            started = core.clock()
         end
         if is_enough() then
            return (core.clock() - started) / done, done
         end
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
   local set, features, once = sample(job, job.val, 2), nil, 0
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
      local set = sample(job, job.train, cache.train and 2 or TIMED + 1)
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

-- Bytes of decoded photos that training will keep, judged by those that the timing has decoded; `all`: that is all of them.
-- Photos that are read once, to keep what the frozen part makes of them, are not kept.
local function decoded_bytes(job, cache)
   local handle = data.handle(job.train, "graft.plan"):dataset()
   local bytes, most, photos = handle:decoded()
   local train = (not cache.train or cache.views > 1) and #job.train or 0
   local val = job.val and not cache.val and #job.val or 0
   local wanted = photos > 0 and math.ceil(bytes / photos * (train + val)) or 0
   local kept = math.min(most, wanted)
   local share = kept * train // math.max(train + val, 1)
   return { train = share, val = kept - share, all = photos > 0 and wanted <= most }
end

local trained_in = setmetatable({}, { __mode = "k" }) -- network -> layer -> the phase that trained it

-- Under which name a fit's features would be remembered: equal for fits that find each other's.
local function features_key(job, cache)
   local words = { tostring(job.handle), job.options.prefix, tostring(cache.views), tostring(cache.photos),
      core.json(data.augment(cache.views > 0 and job.options.augment or "none", "graft.plan")) }
   local phases = trained_in[job.handle] or {}
   for name in pairs(feature_cache.covered(job.handle, cache.layers)) do
      words[#words + 1] = ("%s %s"):format(name, phases[name] or 0)
   end
   table.sort(words)
   return table.concat(words, "|")
end

-- Bytes of features that earlier fits leave in memory, beside those of this one (train/features.h, store).
local function features_of_others(job, cache)
   local own = cache.where == "memory" and cache.bytes or 0
   if core.memory().limit > 0 then
      return 0 -- then nothing is remembered
   elseif not context.planning then
      return math.max(0, core.remembered() - own) -- after a fit like this one these are its own
   end
   local bytes, mine = 0, features_key(job, cache)
   for _, kept in ipairs(context.features or {}) do
      bytes = bytes + (kept.key ~= mine and kept.bytes or 0)
   end
   if own > 0 then
      context.features = context.features or {}
      table.insert(context.features, { key = mine, bytes = own })
   end
   return cache.budget and math.min(bytes, math.max(0, cache.budget - own)) or bytes
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

-- One row a layer.
local function each(rows, lr)
   local all = {}
   for i, row in ipairs(rows) do
      local learns = row.parameters > 0
      all[i] = { name = row.name, shape = row.shape, parameters = row.parameters, source = learns and row.source or nil,
         state = learns and (row.trainable and "trained" or "frozen") or nil, norm = row.batch_norm,
         lr = learns and row.trainable and format.rate(lr * row.lr_scale) or nil, kernels = { [row.kernel] = true },
         cached = row.cached and (row.cut and "here" or "|") or nil }
   end
   return all
end

-- The stages of a network, of the rows of its layers: {name=, shape=, parameters=, source=, state=, lr=, norm=, cached=}.
function plan.stages(handle, rows, lr)
   return group(rows, stage_of_layers(handle), lr)
end

local function layer_table(rows, stages, lr)
   local lines = { { "layer", "output", "parameters", "weights from", "state", "lr", "batch norm", "kernel", "cached" } }
   for _, g in ipairs(context.every_layer and each(rows, lr) or group(rows, stages, lr)) do
      lines[#lines + 1] = { g.name, format.shape(g.shape), format.count(g.parameters), g.source or "-", g.state or "-",
         g.lr or "-", g.norm or "-", joined(g.kernels), g.cached or "" }
   end
   return show.columns(lines, "llrllllll", "  ", core.terminal("stdout"), { 8, 4 }) -- the kernels, where weights are from
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

-- "fc.weight (the old head, 1000 classes)", "fc.bias (the old head, 1000 classes)": the note once, after the last of them.
local function noted_once(list)
   local names = {}
   for i, text in ipairs(list) do
      local name, note = text:match("^(%S+) (%(.*%))$")
      local following = list[i + 1] and list[i + 1]:match("^%S+ (%(.*%))$")
      names[i] = note and note == following and name or text
   end
   return names
end

local MOST_NAMES = 6

-- Layers in place of their tensors, each with its note.
local function layers_of(list)
   local layers, seen = {}, {}
   for _, text in ipairs(list) do
      local name, note = text:match("^(%S+)(.*)$")
      local layer = (name:match("^(.*)%.[^.]+$") or name) .. note
      if not seen[layer] then
         seen[layer], layers[#layers + 1] = true, layer
      end
   end
   return layers
end

local function weights_line(report)
   local function names(list)
      if #list == 0 then
         return "none"
      end
      list = #list > MOST_NAMES and layers_of(list) or list
      local shown = table.move(list, 1, math.min(#list, MOST_NAMES), 1, {})
      local text = core.printable(table.concat(noted_once(shown), ", "))
      return #list > MOST_NAMES and ("%s and %d more (--json has all)"):format(text, #list - MOST_NAMES) or text
   end
   return ("missing: %s.  unused: %s"):format(names(report.missing), names(report.unused))
end

-- What the steps keep rounded for their backward pass, also in the layers' rows. From kept features they keep less.
local function describe_stash(job, cache, input, rows)
   if job.options.stash == "none" then
      return { kind = "none", activations = 0, bytes = 0 }
   end
   local steps = job.handle:plan { input = input, capacity = job.batch_size, training = true, stash = job.options.stash,
      prefix = job.options.prefix, at_once = not ((job.options.clip or 0) > 0), inputs = cache.train and cache.layers or nil }
   for i, row in ipairs(steps.rows) do
      rows[i].stash = row.stash
   end
   return { kind = job.options.stash, activations = steps.stashes, bytes = steps.stashed }
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
   local stash = describe_stash(job, cache, input, compiled.rows)
   local once, epoch, timed = time_training(job, cache)
   local decoded = decoded_bytes(job, cache)
   local report = context.reports[job.handle] or { missing = {}, unused = {} }
   return {
      layers = core.array(compiled.rows),
      exact = job.handle:exact(),
      stash = stash,
      parameters = job.handle:parameters(),
      trainable_parameters = job.handle:parameters(true),
      planned_memory = plan_memory.peak(job, cache, input, decoded, features_of_others(job, cache)),
      decoded_photos = decoded.train + decoded.val,
      seconds_per_epoch = epoch,
      seconds_once = once,
      seconds = once + epoch * job.options.epochs,
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
   if stash.activations == 0 then
      return ("activations stay float32: to keep them as %s would save no memory"):format(stash.kind)
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
   local epoch = document.seconds_per_epoch
   return ("about %s: %s%s of %s   (from %s)"):format(format.seconds(document.seconds),
      once > 0 and ("%s through the frozen part %s, then "):format(format.plural(document.cache.photos, "photo"),
         format.seconds(once)) or "", format.plural(epochs, "epoch"), format.seconds(epoch),
      format.plural(timed, "timed batch", "timed batches"))
end

local function text_of(job, document, timed)
   local o = job.options
   local augment = type(o.augment) == "string" and o.augment ~= "none" and o.augment .. " augmentation"
      or (type(o.augment) == "table" and "own augmentation") or "no augmentation"
   local head = ("%s   %s of %s, batch %d, %s, %s; %s; seed %d, %s"):format(
      o.name and (' "%s"'):format(core.printable(o.name)) or "", format.plural(o.epochs, "epoch"),
      format.plural(job.steps_per_epoch, "step"), job.batch_size,
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

-- What was planned, not made: reading what would have been measured ends the planning. `known`: fields that are known before.
function plan.pending(name, kind, known, text)
   return setmetatable({}, {
      planned = true,
      __name = kind,
      __tostring = function()
         return text
      end,
      __index = function(_, key)
         if known[key] ~= nil then
            return known[key]
         end
         context.finish { planned = ("%s.%s"):format(name, tostring(key)) }
      end,
   })
end

local function in_width(text)
   local width = core.terminal("stdout")
   return width and show.fold(text, width) or text
end

local texts = {} -- of the phases, but for their numbers, which are known when all are planned

-- What an earlier phase trained comes from there, not from a file.
function plan.trace_weights(handle, rows, phase)
   local phases = trained_in[handle] or {}
   trained_in[handle] = phases
   for _, row in ipairs(rows) do
      row.source = phases[row.name] and row.source and ("phase %d"):format(phases[row.name]) or row.source
      phases[row.name] = row.trainable and phase or phases[row.name]
   end
end

-- What fit does while a recipe is planned.
function plan.phase(job)
   lock.check_locked()
   local document, timed = describe(job)
   context.phases = context.phases or {}
   plan.trace_weights(job.handle, document.layers, #context.phases + 1)
   table.insert(context.phases, document)
   table.insert(texts, text_of(job, document, timed))
   return plan.pending("run", "graft.run", { name = job.options.name, epochs_wanted = job.options.epochs, state = {},
      out = context.options_out }, "(planned, not trained)")
end

-- What graft.trainer does while a recipe is planned: the layers are known, batches and epochs are the recipe's own.
function plan.loop(handle, options)
   lock.check_locked()
   local optimizer = options.optimizer or require("graft.descriptions").optimizer.sgd { lr = 0.01, momentum = 0.9 }
   local batch_size = options.batch_size or 32
   local compiled = handle:plan { input = handle:input_shape(), capacity = batch_size, training = true, stash = options.stash }
   local report = context.reports[handle] or { missing = {}, unused = {} }
   local document = { layers = core.array(compiled.rows), parameters = handle:parameters(),
      trainable_parameters = handle:parameters(true), exact = handle:exact(), missing = core.array(report.missing),
      unused = core.array(report.unused), planned_memory = core.null, seconds_per_epoch = core.null, name = core.null }
   context.phases = context.phases or {}
   table.insert(context.phases, document)
   local head = ("   a loop of its own, %s, %s; seed %d, %s"):format(tostring(optimizer),
      tostring(options.schedule or "constant"), core.seed(), format.plural(core.threads(), "thread"))
   table.insert(texts, table.concat({ head, layer_table(document.layers, stage_of_layers(handle), optimizer.lr), format.columns {
      { "trained", format.share(document.trainable_parameters, document.parameters) },
      { "weights", weights_line(document) },
      { "kernels", kernels_line(document) or "one for each kind of layer" },
      { "memory", ("a step on %d photos computes in %s, beside the weights"):format(batch_size,
         format.bytes(compiled.memory)) },
      { "time", "not known before: the recipe makes the batches itself" } } }, "\n"))
end

-- Prints what was planned. `whole`: there are no more phases than these.
function plan.tell(whole)
   for number, text in ipairs(texts) do
      local head = ("phase %d%s"):format(number, whole and (" of %d"):format(#texts) or "")
      print((number > 1 and "\n" or "") .. in_width(head .. text))
   end
end

-- What all phases of a recipe come to; nil where there is but one.
function plan.total(phases)
   local seconds, memory, known = 0, 0, 0
   for _, phase in ipairs(phases) do
      if phase.seconds then -- a fit's
         seconds, memory, known = seconds + phase.seconds, math.max(memory, phase.planned_memory), known + 1
      end
   end
   return known > 1 and ("\n%s together: about %s, %s at the most"):format(format.plural(known, "phase"),
      format.seconds(seconds), format.bytes(memory)) or nil
end

-- The one document of `graft plan --json`: the last phase's keys, and all phases.
function plan.document(phases)
   for _, phase in ipairs(phases) do
      for _, row in ipairs(phase.layers) do -- every row has every key
         for _, key in ipairs { "lr_scale", "batch_norm", "source", "candidates", "stash" } do
            row[key] = row[key] == nil and core.null or row[key]
         end
      end
   end
   local document = {}
   for key, value in pairs(phases[#phases] or { layers = core.array {} }) do
      document[key] = value
   end
   document.phases = core.array(phases)
   document.options, document.seed, document.threads = context.options.values or core.null, core.seed(), core.threads()
   return document
end

-- Is this what fit returns while a recipe is planned?
function plan.is_planned(value)
   local meta = type(value) == "table" and getmetatable(value)
   return type(meta) == "table" and meta.planned == true
end

-- graft.plan(net, data, options): prints as `graft plan` does; options as of fit.
function plan.print(net, d, options)
   local job = require("graft.fit").prepare(net, d, options)
   local document, timed = describe(job)
   print(in_width("phase 1 of 1" .. text_of(job, document, timed)))
   print("Nothing was trained or written.")
end

return plan
