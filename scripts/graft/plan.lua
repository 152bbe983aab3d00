-- What training would do, told before a minute is spent. Nothing is trained or written, and the network is left as it was:
-- the timing runs on a clone.

local core = require "graft.core"
local context = require "graft.context"
local data = require "graft.data"
local format = require "graft.format"

local plan = {}

-- Timed batches: one to warm up, then up to `TIMED`.
local TIMED = 3

-- Seconds a training step takes, with decoding, from a few batches on a clone of the network.
local function time_steps(job)
   local clone = job.handle:clone()
   local trainer = require "graft.trainer"
   local choices = {}
   for key, value in pairs(job.options) do
      choices[key] = value
   end
   choices.steps, choices.batch_size = job.steps, job.batch_size
   local tr = core.trainer(clone, (trainer.options(choices, "graft.plan", job.steps_per_epoch)))
   local done, started, begun = 0, nil, core.clock()
   for _, _, b in data.handle(job.train, "graft.plan"):batches { net = clone, batch_size = job.batch_size, shuffle = true,
      epoch = 1, augment = data.augment(job.options.augment, "graft.plan"), fit = core.fit(), seed = core.seed() } do
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
   local ended = core.clock()
   tr:close()
   clone:close()
   if done == 0 then -- a single batch in all
      done, started = 1, begun
   end
   return (ended - started) / done, done
end

-- Seconds of one photo in validation.
local function time_photos(job)
   if not job.val then
      return 0
   end
   local set = data.handle(job.val, "graft.plan")
   local count = math.min(#job.val, 2 * job.batch_size)
   local positions = {}
   for i = 1, count do
      positions[i] = i
   end
   local started = core.clock()
   core.evaluate(job.handle, set:take(positions), { batch_size = job.batch_size })
   return (core.clock() - started) / count
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
         if row.parameters > 0 then
            last.source = merge(last.source, row.source)
            last.state = merge(last.state, row.trainable and "trained" or "frozen")
            if row.trainable then
               last.lr = merge(last.lr, format.rate(lr * row.lr_scale))
            end
            if not row.kernel:match("^%(") then
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
   local lines = { { "layer", "output", "parameters", "weights from", "state", "lr", "batch norm", "kernel" } }
   for _, g in ipairs(group(rows, stages, lr)) do
      lines[#lines + 1] = { g.name, format.shape(g.shape), format.count(g.parameters), g.source or "-", g.state or "-",
         g.lr or "-", g.norm or "-", joined(g.kernels) }
   end
   return format.columns(lines, "llrlllll", "  ")
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
   local compiled = job.handle:plan { input = input, capacity = job.batch_size, training = true }
   local step, timed = time_steps(job)
   local photo = time_photos(job)
   local report = context.reports[job.handle] or { missing = {}, unused = {} }
   return {
      layers = core.array(compiled.rows),
      parameters = job.handle:parameters(),
      trainable_parameters = job.handle:parameters(true),
      planned_memory = compiled.memory,
      seconds_per_epoch = step * job.steps_per_epoch + photo * (job.val and #job.val or 0),
      missing = core.array(report.missing),
      unused = core.array(report.unused),
      name = job.options.name or core.null,
      epochs = job.options.epochs,
      batch_size = job.batch_size,
      steps_per_epoch = job.steps_per_epoch,
   }, timed
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
      { "memory", format.bytes(document.planned_memory) .. " for activations, packed weights and gradients" },
      { "time", ("about %s: %d epochs of %s   (from %s)"):format(
         format.seconds(document.seconds_per_epoch * o.epochs), o.epochs, format.seconds(document.seconds_per_epoch),
         format.plural(timed, "timed batch", "timed batches")) },
   }
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
         error({ planned = "run." .. tostring(key) }, 0)
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
