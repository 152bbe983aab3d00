-- graft.trainer: one step at a time, for loops of one's own. The fit loop (graft.fit) uses the same trainer.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local checkpoints = require "graft.checkpoints"
local chapters = require "graft.chapters"
local context = require "graft.context"
local data = require "graft.data"
local lock = require "graft.lock"
local network = require "graft.network"
local origins = require "graft.origins"
local run_folder = require "graft.run_folder"
local progress = require "graft.progress"
local descriptions = require "graft.descriptions"
local nn = require "graft.nn"
local prefix = require "graft.prefix"

local trainer = {}

local Trainer = { __name = "graft.trainer" }
local states = setmetatable({}, { __mode = "k" })

-- How activations are kept for the backward pass: options.stash.
trainer.stashes = { "none", "bf16" }

function trainer.stash(options, who)
   local stash = options.stash or "none"
   for _, name in ipairs(trainer.stashes) do
      if stash == name then
         return stash
      end
   end
   core.error("option", ("%s: stash must be one of %s, got %q"):format(who, table.concat(trainer.stashes, ", "), stash),
      core.nearest(stash, trainer.stashes))
end

-- The bindings' options of a trainer from what fit and graft.trainer take.
function trainer.options(options, who, steps_per_epoch)
   local optimizer = options.optimizer or descriptions.optimizer.sgd { lr = 0.01, momentum = 0.9 }
   local fields = {
      optimizer = descriptions.fields(optimizer, "optimizer", who),
      schedule = options.schedule and descriptions.fields(options.schedule, "schedule", who) or nil,
      loss = options.loss and nn.loss_fields(options.loss, who) or nil,
      steps = options.steps,
      clip = options.clip,
      batch_size = options.batch_size,
      fit = core.fit(),
      seed = core.seed(),
      fixed_norms = options.bn == "fixed" or nil,
      stash = trainer.stash(options, who),
   }
   fields.prefix = options.prefix
   fields.epoch_steps = steps_per_epoch
   return fields, optimizer
end

local keys = { optimizer = "table", loss = { "function", "table" }, schedule = "table", steps = "integer",
   clip = "number", batch_size = "integer", bn = "string", stash = "string", prefix = "string", data = "table" }

-- The data that int8 takes its ranges from.
local function calibration_data(options, who)
   if options.data and not data.is(options.data) then
      core.error("option", who .. ": option data: expected a data set (graft.data.folder), got a table")
   elseif options.prefix == "int8" and not options.data then
      core.error("option", who .. ': prefix = "int8" takes its ranges from photos to train on: data = d, with d of '
         .. "graft.data.folder")
   end
   return options.data
end

-- graft.trainer(net, options): `steps` is the length of the schedule. The step schedule counts steps here.
function trainer.new(net, options)
   local who = "graft.trainer"
   local handle = network.handle(net, who)
   options = strict.options(options, who, keys)
   require("graft.recipe").check_options()
   options.prefix = prefix.option(options.prefix, handle, who)
   core.fit(core.fit() + 1)
   local state = { net = net, handle = handle, best = nil, epoch = 0,
      data = calibration_data(options, who) }
   if options.prefix ~= "float32" then
      progress.line("frozen part  its convolutions in " .. format.precision(options.prefix))
   end
   state.fit, state.schedule = core.fit(), options.schedule
   state.fields, state.optimizer = trainer.options(options, who)
   if context.planning then
      require("graft.plan").loop(handle, options)
   else
      state.core = core.trainer(handle, state.fields)
   end
   local tr = setmetatable({}, Trainer)
   states[tr] = state
   return tr
end

local methods = {}

local function plan_only(what)
   if context.planning then
      context.finish { planned = what }
   end
end

-- In int8: the ranges of what the frozen part reads, anew where freezing made it another part.
local function calibrate(state)
   local version = state.handle:version()
   if state.fields.prefix == "int8" and state.calibrated ~= version then
      state.core:calibrate(data.handle(state.data.train, "graft.trainer"))
      state.calibrated = version
   end
end

-- tr:step(x, y [, b]) -> loss
function methods:step(x, y, b)
   plan_only("trainer:step")
   calibrate(states[self])
   return (states[self].core:step(x, y, b))
end

-- tr:evaluate(set) -> result (as graft.evaluate), in the precision of the steps
function methods:evaluate(set)
   plan_only("trainer:evaluate")
   local state = states[self]
   local frozen = #core.cut(state.handle) > 0 -- not, when everything was unfrozen meanwhile
   return trainer.evaluate(state.net, set, { loss = state.fields.loss, prefix = frozen and state.fields.prefix or nil })
end

-- The run folder, whose own files are this trainer's from now on.
local function begin(state)
   if not state.folder then
      state.folder = run_folder.start()
      state.entry = { fit = state.fit, loop = true, exact = state.handle:exact(),
         stash = state.fields.stash, prefix = state.fields.prefix, handle = context.mode == "run" and state.handle or nil }
      context.modes[#context.modes + 1] = state.entry
      chapters.begin_loop(state.entry, state)
      if not context.resume or not checkpoints.find(state.folder, state.fit) then
         checkpoints.retire(state.folder, state.fit)
      end
      lock.write(state.folder)
   end
   return state.folder
end

-- for e in tr:epochs(n): from 1, or after --resume from the first unfinished epoch; writes `last` after each.
function methods:epochs(count)
   strict.check(count, "integer", "trainer:epochs")
   local state = states[self]
   local first, folder = 1, not context.planning and begin(state)
   local path = context.resume and folder and checkpoints.find(folder, state.fit)
   if path then
      local saved = state.core:restore(path .. "/last.safetensors")
      first = math.tointeger(tonumber(saved["graft.epoch"] or "0")) + 1
      state.best = tonumber(saved["graft.best"])
      core.draws(math.tointeger(tonumber(saved["graft.draws"] or "0")))
      progress.line(("resumed after epoch %d"):format(first - 1))
   end
   if context.resume and folder then
      run_folder.trim_metrics(folder, state.fit, first - 1)
   end
   state.epochs = count
   local e = first - 1
   return function()
      if e >= first and not context.planning then
         state.core:save(folder .. "/last.safetensors", { ["graft.ordinal"] = state.fit, ["graft.epoch"] = tostring(e),
            ["graft.best"] = state.best and ("%.17g"):format(state.best) or "", ["graft.draws"] = tostring(core.draws()) })
      end
      e = e + 1
      state.epoch = e
      if e > count and state.entry then
         state.entry.digest = state.handle:digest()
      end
      return e <= count and e or nil
   end
end

-- Columns that the line of progress shows.
local logged = { epoch = "integer", train_loss = "number", val_accuracy = "number", val_map = "number", lr = "number" }

-- tr:log{epoch=, ...}: a row of metrics.csv and a line of progress; keeps `best` by val_accuracy.
function methods:log(row)
   if context.planning then
      return
   end
   strict.check(row, "table", "trainer:log")
   for key, value in next, row do
      if type(key) == "string" then -- others are no columns
         strict.check(value, logged[key] or { "number", "string", "boolean" }, "trainer:log: " .. key)
      end
   end
   local state = states[self]
   local folder = begin(state)
   local copy = { fit = state.fit, lr = state.core:lr() }
   for key, value in next, row do
      copy[key] = value
   end
   run_folder.append_metrics(folder, copy)
   chapters.log(state.entry, copy)
   local better = copy.val_accuracy and (not state.best or copy.val_accuracy > state.best)
   if better then
      state.best, state.best_epoch = copy.val_accuracy, math.tointeger(copy.epoch)
      core.save_model(state.handle, folder .. "/best.safetensors", {})
   end
   progress.line(trainer.row_text(copy, state.epochs, better))
end

local fields = {
   lr = function(tr)
      return tr:lr()
   end,
   steps = function(tr)
      return tr:steps()
   end,
}

Trainer.__index = function(self, key)
   if methods[key] then
      return methods[key]
   elseif fields[key] then
      return fields[key](states[self].core)
   end
   local hints = { backward = "there is no tape: a loss returns its gradient, and tr:step does the rest",
      zero_grad = "gradients are made anew in every tr:step" }
   core.error("name", ("a trainer has no %q; %s"):format(tostring(key), hints[key]
      or "it has step, evaluate, epochs, log, lr, steps"))
end

Trainer.__tostring = function(self)
   local state = states[self]
   return ("trainer of %s%s"):format(state.net.name, state.core and (": %s made, lr %s"):format(
      format.plural(state.core:steps(), "step"), format.rate(state.core:lr())) or "")
end

local HEADS = 3 -- auxiliary classifiers that a line of progress has room for

-- "epoch  1/20  loss 1.271  val 0.717  lr 0.0100  best"; the name of the fit goes before it
function trainer.row_text(row, epochs, better)
   local width = #tostring(epochs or row.epoch or 1)
   local words = { row.name }
   if row.epoch then
      words[#words + 1] = ("epoch %" .. width .. "d%s"):format(row.epoch, epochs and "/" .. epochs or "")
   end
   if row.train_loss then
      words[#words + 1] = ("loss %.3f"):format(row.train_loss)
   end
   if row.val_accuracy then
      words[#words + 1] = ("val %.3f"):format(row.val_accuracy)
   end
   local heads = {}
   for key, value in next, row do -- auxiliary classifiers
      local layer = type(key) == "string" and key:match "^val_accuracy:(.*)$"
      heads[#heads + 1] = layer and ("%s %.3f"):format(layer, value) or nil
   end
   table.sort(heads)
   table.move(heads, 1, math.min(#heads, HEADS), #words + 1, words)
   if row.val_map then
      words[#words + 1] = ("mAP %.3f"):format(row.val_map)
   end
   if row.lr then
      words[#words + 1] = "lr " .. format.even_rate(row.lr)
   end
   if better then
      words[#words + 1] = "best"
   end
   return table.concat(words, "  ")
end

-- graft.evaluate(net, set, {batch_size=, loss=, progress=, prefix=, photos=}): accuracy, top5, loss, classes, confusion, heads,
-- calibration, photos
function trainer.evaluate(net, set, options)
   local who = "graft.evaluate"
   local handle = network.handle(net, who)
   if data.is(set) then
      set = #set.val > 0 and set.val or set.train
   end
   local given = strict.options(options, who, { batch_size = "integer", loss = { "table", "function" },
      progress = "function", prefix = "string", photos = "boolean" })
   given.prefix = prefix.option(given.prefix, handle, who)
   given.loss = given.loss and nn.loss_fields(given.loss, who) or nil
   local result = trainer.result(handle, data.handle(set, who), given)
   origins.note(result, net, handle, data.handle(set, who))
   return result
end

-- Mean of a recipe's own loss over a set. The loss may ask its batch for files or another network's input, so the
-- batches come through Lua.
local function own_loss(handle, set, loss, batch_size)
   local sum, count = 0, 0
   for x, y, b in set:batches { net = handle, batch_size = batch_size, epoch = 1 } do
      core.check_interrupt()
      local value = strict.check((loss(handle:forward(x), y, data.wrap_batch(b))), "number", "loss: its first result")
      sum, count = sum + value * #x, count + #x
   end
   return count > 0 and sum / count or 0
end

local of_bin = getmetatable(strict.table({}, "a step of result.calibration.bins", { "confidence", "accuracy" }))
local of_photo = getmetatable(strict.table({}, "a photo of result.photos", { "said", "p_said", "given", "wrong" }))

local function result_text(result)
   return (require("graft.report").text(result):gsub("\n$", ""))
end

-- core.evaluate on the bindings' network and set, with any kind of loss.
function trainer.result(handle, set, options)
   local loss = options.loss
   local own = type(loss) == "function"
   options.loss = not own and loss or nil
   local result = core.evaluate(handle, set, options)
   options.loss = loss
   if own then
      result.loss = own_loss(handle, set, loss, math.min(options.batch_size or 32, math.max(1, set:count())))
   end
   setmetatable(result, { __name = "graft.result", __tostring = result_text })
   for _, bin in ipairs(result.calibration.bins) do
      if bin.count == 0 then
         bin.confidence, bin.accuracy = nil, nil
      end
      setmetatable(bin, of_bin)
   end
   for _, photo in ipairs(result.photos or {}) do
      setmetatable(photo, of_photo)
   end
   strict.table(result.calibration, "result.calibration", { "error" })
   return strict.table(result, "a result", { "top5", "f1", "map", "heads", "photos" })
end

return trainer
