-- The reference: training. What the fields of an entry mean says scripts/graft/reference.lua.

local descriptions = require "graft.descriptions"

local net = { "net", "graft.network", "required", "trained in place, as far as it is not frozen" }
local augment = { "augment", '"none"|"light"|"standard"|graft.augmentation[]', '"none"', "changes of the photos by chance: "
   .. "see augment" }
local stash = { "stash", '"none"|"bf16"', '"none"', '"bf16" rounds the activations that wait for the backward pass to bfloat16: '
   .. "half their memory, gradients off by about 0.2 %" }
local loss = { "loss", "graft.loss|graft.loss_function", "", "without: cross entropy, or binary cross entropy with several "
   .. "labels a photo. One's own: function(logits, y, b) that returns a number and its gradient" }
local clip = { "clip", "number", "", "the most that the norm of all gradients together may be; without: no limit" }
local bn = { "bn", '"train"|"fixed"', '"train"', '"fixed" keeps the statistics of batch norms in trained layers as they are' }
local prefix = { "prefix", '"float32"|"bf16"|"int8"', '"float32"', "how exactly the convolutions of the frozen part are "
   .. "computed; run.float32 tells the accuracy without rounding" }

-- What graft.fit takes; graft.fine_tune takes some of it.
local of_fit = {
   { "epochs", "integer", "20", "passes over data.train, at least 1" },
   { "batch_size", "integer", "32", "photos in a step; of fewer photos all. More photos than there are is an error" },
   { "optimizer", "graft.optimizer", "graft.sgd{ lr = 0.01, momentum = 0.9 }", "when none is given, it is said aloud" },
   { "schedule", "graft.schedule", "graft.constant{}", "how the rate changes over all steps of this fit" },
   augment, loss,
   { "val", "graft.set|boolean", "true", "another set to validate with, or false for none" },
   { "monitor", '"val_accuracy"|"val_loss"|"val_f1"|"val_map"', '"val_accuracy"', "what the best epoch is best in" },
   { "keep", '"best"|"last"', '"best"', "which epoch the network holds afterwards; without validation the last" },
   { "patience", "integer", "", "ends after so many epochs without a better one; without: never" },
   { "on_epoch", "fun(row: graft.row): string?", "", 'called after each epoch with its row (run.epochs); "stop" ends the '
      .. "training. It may not change the network" },
   clip, bn, stash, prefix,
   { "cache", 'string|{ pool?: integer, memory?: integer }', '"auto"', 'what is kept of the frozen part: "auto", '
      .. '"none", "pool:K" (K augmented views of each photo), or a table: graft help cache', {
      { "pool", "integer", "", "views of each photo, 1 to 1,000" },
      { "memory", "integer", "", "bytes of memory that it may take; without: a quarter of the machine's, at most 1 "
         .. "GiB" } } },
   { "drop_last", "boolean", "false", "leaves out a last batch that is not full" },
   { "name", "string", "", "of this phase, in progress, report and metrics.csv" },
   { "out", "string", "", "run folder; without: --out, or runs/NAME-N" },
   { "resume", "boolean", "false", "goes on where an interrupted run in that folder ended, as --resume does" },
   { "threads", "integer", "", "threads to compute with; --threads wins; without: one a processor" },
}

-- The options of graft.fit with these names.
local function pick(...)
   local list = {}
   for _, name in ipairs { ... } do
      for _, option in ipairs(of_fit) do
         list[#list + 1] = option[1] == name and option or nil
      end
   end
   return table.unpack(list)
end

local topic = { name = "training", title = "Training", text = [[
graft.fit is the whole loop: epochs, validation, checkpoints, progress, and the proof that what is frozen stayed as it was.
graft.trainer is one step of it, for loops of one's own.

Gradients are made anew in every step, and there is no tape: a loss returns its value and its gradient.]] }

topic.entries = {
   {
      name = "graft.fit",
      text = "Trains what is not frozen. Afterwards the network holds the best epoch by the monitored number, or the last "
         .. "one.\n\n"
         .. "Classes are matched by name. A frozen part is computed once for each photo and kept (graft help cache). A run "
            .. "folder receives the recipe, its lock, metrics.csv, checkpoints and a report. Several calls in one recipe are "
            .. "phases of one run; the optimiser starts afresh in each. Ctrl-C at the prompt stops it in good order, with the "
            .. "best epoch.",
      arguments = { net, { "data", "graft.data", "required", "photos to train on and to validate with" } },
      options = of_fit,
      returns = { { "graft.run", "what came of it" } },
      errors = {
         { "name", "the network tells other classes apart than the data has: net:replace_head(data) first",
            'graft.fit(graft.load("resnet18.safetensors"), d)' },
         { "option", "an option is unknown or has a wrong value; every layer is frozen", "graft.fit(net, d, { epoch = 3 })" },
         { "data", "there is no photo to train on, or too many are broken" },
         { "number", "a loss or gradient is not finite; the last checkpoint is whole",
            "graft.fit(net, d, { loss = function(logits) return 0/0, logits * 0 end })" },
         { "file", "the run folder is not empty and the run is not resumed" },
      },
      example = "local run = graft.fit(net, d, { epochs = 5, optimizer = graft.adamw{ lr = 1e-3 }, schedule = graft.cosine{ "
         .. "warmup = 0.1 },\n"
         .. '  on_epoch = function(row) if row.val_accuracy == 1 then return "stop" end end })\nprint(run)',
      see = { "run.best", "graft.plan", "graft.fine_tune", "graft.trainer", "cache" },
   },
   {
      name = "graft.fine_tune",
      text = "The usual two phases: the new head alone for a quarter of the epochs, then everything, with pretrained layers "
         .. "at one tenth of the rate.\n\nThe head is replaced when the classes are others. Statistics of batch norms stay "
         .. "those of the pretraining, and gradients are clipped at 1. Options beyond "
         .. "those of its own are those of graft.fit, and hold for both phases.",
      arguments = { net, { "data", "graft.data", "required", "photos to train on and to validate with" } },
      options = {
         { "epochs", "integer", "12", "of the second phase" },
         { "lr", "number", "0.01", "rate of the head" },
         { "augment", augment[2], '"none"', "in the second phase: see augment" },
         { "prefix", prefix[2], prefix[3], "in the first phase, where something is frozen: see graft.fit" },
         { "clip", "number", "1", "the most that the norm of all gradients together may be; without: 1 in the second phase" },
         loss, stash, pick("batch_size", "cache", "drop_last", "keep", "monitor", "on_epoch", "out", "patience", "resume",
            "threads", "val"),
      },
      returns = { { "graft.run", "of the second phase" } },
      errors = { { "option", "an option is unknown or has a wrong value", "graft.fine_tune(net, d, { lr = 0 })" } },
      example = "print(graft.fine_tune(net, d, { epochs = 4 }).epochs_done)  --> 4",
      see = { "graft.fit", "net:lr_scale" },
   },
   {
      name = "graft.trainer",
      text = "One step at a time, for loops of one's own. Changes of freezing and rates between steps hold from the next one on.",
      arguments = { net },
      options = {
         { "optimizer", "graft.optimizer", "graft.sgd{ lr = 0.01, momentum = 0.9 }", "what takes the steps" },
         { "schedule", "graft.schedule", "graft.constant{}", "over steps; graft.step counts steps here, not epochs" },
         { "steps", "integer", "", "how many steps there will be: the length of the schedule" },
         loss, clip, bn, stash, prefix,
         { "data", "graft.data", "", 'the photos that prefix = "int8" takes its ranges from' },
         { "batch_size", "integer", "", "the largest batch, when it is known: memory is then reserved once" },
      },
      returns = { { "graft.trainer", "a trainer" } },
      errors = { { "option", "an option is unknown or has a wrong value", "graft.trainer(net, { lr = 0.01 })" } },
      example = "local tr = graft.trainer(net, { optimizer = graft.sgd{ lr = 0.01, momentum = 0.9 } })\n"
         .. "for e in tr:epochs(2) do\n"
         .. "  for x, y, b in d.train:batches{ net = net, batch_size = 4, shuffle = true, epoch = e } do tr:step(x, y, b) end\n"
         .. "  tr:log{ epoch = e, val_accuracy = tr:evaluate(d.val).accuracy }\nend",
      see = { "tr:step", "set:batches", "graft.fit" },
   },
   {
      name = "tr:step",
      text = "One step on a batch: forward, loss, backward, optimiser. Nothing has to be set to zero before.",
      arguments = { { "x", "graft.tensor", "required", "[N,C,H,W], as set:batches gives it" },
         { "y", "string[]|graft.tensor", "required", "targets [N,K], or a class name for each photo" },
         { "b", "graft.batch", "", "the batch: a loss of one's own receives it" } },
      returns = { { "number", "the loss before the step, the mean over the batch" } },
      errors = { { "shape", "x or y has another shape than the network has", "tr:step(graft.zeros(2, 3), graft.zeros(2, 2))" },
         { "number", "the loss is not finite" } },
      example = 'local x = net:preprocess("new/a.jpg")\nlocal first = tr:step(x, { "ants" })\nfor i = 1, 5 do tr:step(x, { '
         .. '"ants" }) end\n'
         .. 'print(tr:step(x, { "ants" }) < first)  --> true',
      see = { "graft.trainer", "tr.lr" },
   },
   {
      name = "tr:evaluate",
      text = "How well the network does on a set now, with the trainer's loss, in the precision of its steps (prefix).",
      arguments = { { "set", "graft.set", "required", "such as data.val" } },
      returns = { { "graft.result", "as graft.evaluate gives it" } },
      example = "print(tr:evaluate(d.val).count)  --> 4",
      see = { "graft.evaluate" },
   },
   {
      name = "tr:epochs",
      text = "Counts epochs: for e in tr:epochs(n) do ... end. After each it writes last.safetensors into the run folder; "
         .. "after --resume it begins with the first epoch that was not finished.",
      arguments = { { "count", "integer", "required", "how many epochs in all" } },
      returns = { { "fun(): integer", "gives 1, 2 ... count" } },
      errors = { { "option", "count is no whole number", "tr:epochs(1.5)" },
         { "file", "the run folder is not empty and the run is not resumed" } },
      example = "for e in tr:epochs(2) do print(e) end",
      see = { "tr:log", "graft.out" },
   },
   {
      name = "tr:log",
      text = "Writes a row of metrics.csv and a line of progress, and saves best.safetensors when val_accuracy is the highest "
         .. "so far. Any key becomes a column.",
      arguments = { { "row", "table<string, number|string|boolean>", "required",
         "such as {epoch = e, train_loss = 0.5, val_accuracy = 0.9}" } },
      errors = { { "option", "a value is no number, text or boolean", "tr:log{ epoch = {} }" } },
      example = "tr:log{ epoch = 1, train_loss = 0.5, val_accuracy = 0.9 }",
      see = { "tr:epochs" },
   },
   { name = "tr.lr", type = "number", text = "The learning rate of the next step, before factors by layer.",
      example = "print((\"%.3f\"):format(tr.lr))  --> 0.010", see = { "net:lr_scale" } },
   { name = "tr.steps", type = "integer", text = "Steps done.", example = "print(tr.steps)  --> 0" },
}

-- --- descriptions: names, types and defaults are those of graft.descriptions ---

local function add(name, kind, text, texts, errors, example)
   table.insert(topic.entries, { name = "graft." .. name, text = text, options = descriptions.options(name, texts),
      returns = { { "graft." .. kind, "a plain value without state, which can serve several fits" } }, errors = errors,
      example = example, see = { "graft.fit", "graft.trainer" } })
end

local lr = "learning rate, above 0"
local decay = "weight decay; biases and norms are left out of it"
local function optimizer_errors(name)
   return { { "option", "lr is missing, 0 or less; an option is unknown", ("graft.%s{}"):format(name) } }
end

add("sgd", "optimizer", "Stochastic gradient descent, with PyTorch's formulas.", { lr = lr, momentum = "0 to below 1",
   dampening = "of the gradient that enters the momentum", nesterov = "looks ahead; needs a momentum and no dampening",
   weight_decay = decay }, optimizer_errors "sgd", "print(graft.sgd{ lr = 0.01, momentum = 0.9 })  --> sgd lr 0.01 momentum 0.9")
add("adam", "optimizer", "Adam (Kingma and Ba 2015). Its weight decay is added to the gradient; graft.adamw keeps them apart.", {
   lr = lr, betas = "of the two running means", eps = "added to the root", weight_decay = decay }, optimizer_errors "adam",
   "print(graft.adam{ lr = 1e-3 }.lr)  --> 0.001")
add("adamw", "optimizer", "Adam with decoupled weight decay (Loshchilov and Hutter 2019).", { lr = lr,
   betas = "of the two running means", eps = "added to the root", weight_decay = decay }, optimizer_errors "adamw",
   "print(graft.adamw{ lr = 1e-3 })  --> adamw lr 0.001")
add("rmsprop", "optimizer", "RMSprop, with PyTorch's formulas.", { lr = lr, alpha = "of the running mean of squares",
   centered = "takes the variance instead of the mean of squares", eps = "added to the root", momentum = "0 to below 1",
   weight_decay = decay }, optimizer_errors "rmsprop", "print(graft.rmsprop{ lr = 1e-3 })  --> rmsprop lr 0.001")

local warmup = "share of all steps, 0 to 1, in which the rate grows evenly from 0"
local function schedule_errors(name, option)
   return { { "option", "an option is unknown or out of its range", ("graft.fit(net, d, { schedule = graft.%s{ %s } })"):format(
      name, option) } }
end
add("constant", "schedule", "The same rate throughout.", { warmup = warmup }, schedule_errors("constant", "warmup = 2"),
   "local same = graft.constant{ warmup = 0.05 }")
add("step", "schedule", "The rate times a factor after every so many epochs.", { every = "epochs; steps with graft.trainer",
   factor = "above 0", warmup = warmup }, schedule_errors("step", "every = 0"), "local stairs = graft.step{ every = 10, "
      .. "factor = 0.1 }")
add("cosine", "schedule", "From the full rate down along half a cosine.", { floor = "what is left at the end, as a share of "
   .. "the rate",
   warmup = warmup }, schedule_errors("cosine", "warmup = 2"), "local falling = graft.cosine{ warmup = 0.1 }")
add("one_cycle", "schedule", "Up from a 25th of the rate, then down to a 250,000th, both along half a cosine (Smith and Topin "
   .. "2018).", { warmup = "share of all steps that the way up takes, 0 to 1" }, schedule_errors("one_cycle", "warmup = 2"),
   "local cycle = graft.one_cycle{ warmup = 0.3 }")

-- --- losses ---

local of_loss = { { "graft.loss", "call it as loss(logits, y, b), or give it to fit and trainer as loss=" } }
local class_weights = { "class_weights", "table<string, number>|number[]", "", "a factor for each class: by name (absent: 1), "
   .. "or in the order of the classes" }

for _, entry in ipairs {
   {
      name = "graft.nn.cross_entropy",
      text = "Cross entropy of the softmax of the logits: the loss that fit takes by itself when each photo has one class.",
      options = { { "label_smoothing", "number", "0", "share of the target that is spread over all classes, 0 to 1" },
         class_weights },
      returns = of_loss,
      errors = { { "option", "an option is unknown", "graft.nn.cross_entropy{ smoothing = 0.1 }" } },
      example = "local loss = graft.nn.cross_entropy{ label_smoothing = 0.1 }\n"
         .. "print(graft.nn.check(loss, { 4, 3 }) < 0.02)  --> true",
      see = { "loss(logits, y)", "graft.fit" },
   },
   {
      name = "graft.nn.binary_cross_entropy",
      text = "Binary cross entropy of the sigmoid of each logit: the loss that fit takes when photos have several labels.",
      options = { class_weights },
      returns = of_loss,
      errors = { { "option", "an option is unknown", "graft.nn.binary_cross_entropy{ label_smoothing = 0.1 }" } },
      example = "print(graft.nn.binary_cross_entropy{}(graft.zeros(1, 2), graft.ones(1, 2)) > 0.69)  --> true",
      see = { "graft.data.csv" },
   },
   {
      name = "graft.nn.mse",
      text = "Mean of the squared differences of logits and targets.",
      options = {},
      returns = of_loss,
      errors = { { "option", "it takes no options", "graft.nn.mse{ class_weights = {} }" } },
      example = "local value, gradient = graft.nn.mse{}(graft.ones(1, 2), graft.zeros(1, 2))\nprint(value, gradient:sum())  "
         .. "--> 1.0  2.0",
      see = { "loss(logits, y)" },
   },
   {
      name = "loss(logits, y)", operator = { "call", "logits: graft.tensor, y: graft.tensor, b?: graft.batch",
         "number, graft.tensor" },
      text = "Value and gradient of a loss for a batch. A function of one's own has the same form: function(logits, y, b) "
         .. "return value, gradient end. logits and y are [N,K] and lent for the call; the value is a mean over the batch, "
         .. "the gradient is shaped like logits.",
      errors = { { "shape", "logits and y have different shapes", "graft.nn.mse{}(graft.zeros(1, 2), graft.zeros(1, 3))" } },
      example = "local function brier(logits, y)\n  local p = logits:softmax(2)\n  local g = p - y\n"
         .. "  return (g * g):sum() / #y, p * (g - (p * g):sum(2, true)) * (2 / #y)\nend\n"
         .. "print(graft.nn.check(brier, { 8, 4 }) < 0.02)  --> true\ngraft.fit(net, d, { epochs = 1, loss = brier })",
      see = { "graft.nn.check", "graft.nn.cross_entropy" },
   },
   {
      name = "graft.nn.check",
      text = "Compares the gradient of a loss or of a layer written in Lua with finite differences at random points, and "
         .. "raises when it is off by more than 2 % of its largest entry.",
      arguments = { { "subject", "graft.loss|graft.loss_function|graft.layer", "required", "what is checked" },
         { "shape", "integer[]", "required", "of a loss {photos, classes}; of a layer that of its input" } },
      returns = { { "number", "the largest difference, as a share of the largest entry" } },
      errors = { { "number", "the gradient is wrong", "graft.nn.check(function(x, y) return (x * x):sum(), x end, { 4, 3 })" },
         { "shape", "a shape does not suit", "graft.nn.check(graft.nn.mse{}, { 4 })" } },
      example = "print(graft.nn.check(graft.nn.mse{}, { 8, 4 }) < 0.02)  --> true",
      see = { "loss(logits, y)", "graft.nn.layer" },
   },
} do
   table.insert(topic.entries, entry)
end

return topic
