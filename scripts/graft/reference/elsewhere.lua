-- The reference: names that people look for who come from elsewhere. Each is answered in a line or two.
-- What the fields of an entry mean says scripts/graft/reference.lua.

local topic = { name = "elsewhere", title = "Looked for under another name", entries = {}, text = [[
What other libraries call otherwise, or what Graft does not need. graft help NAME finds each of these.]] }

local function add(names, text, see, example, errors)
   for name in names:gmatch("[^;]+") do
      table.insert(topic.entries, { name = name, text = text, see = see, example = example, errors = errors, elsewhere = true })
   end
end

add("zero_grad", "Not needed: gradients are made anew in every tr:step.", { "tr:step" })
add("backward", "There is no tape: a loss returns its value and its gradient, and tr:step does the rest.", { "loss(logits, y)",
   "tr:step" })
add("no_grad", "Not needed: net:forward, net:features and net:predict are always inference.", { "net:forward" })
add("train", "net:train() is not needed and raises: graft.fit and graft.trainer train what is not frozen, everything else is "
   .. "inference.", { "graft.fit", "graft.trainer" })
add("eval", "net:eval() is not needed and raises: everything but fit and trainer is inference. graft.evaluate measures.",
   { "graft.evaluate" })
add("requires_grad", 'net:freeze("...") and net:unfreeze("..."): gradients, decay, momentum and batch-norm statistics stop '
   .. 'together.',
   { "net:freeze" })
add("trainable", "net:freeze and net:unfreeze; nothing has to be compiled again.", { "net:freeze" })
add("state_dict;load_state_dict", "net:save(path) writes, graft.load(path) reads; plain state dicts of PyTorch are read as "
   .. "they are.",
   { "graft.load", "net:save" })
add("DataLoader;ImageFolder;Dataset", "graft.data.folder(dir), then d.train:batches{...}. Threads for decoding are Graft's "
   .. "own business.",
   { "graft.data.folder", "set:batches" })
add("num_workers", "Not needed: photos are decoded ahead of the loop by Graft's threads, and kept decoded where there is room.",
   { "set:batches" })
add("transforms;Normalize;ToTensor", "Resizing, cropping and normalising are the network's preprocessing and travel with its "
   .. "weights. Chance is augment.", { "net.preprocessing", "graft.augment" })
add("cuda;to;device;gpu", "Graft computes on the processor; there is nothing to move.", { "graft.config" })
add("amp;half;autocast;mixed_precision", 'stash = "bf16" halves the memory of activations, prefix = "bf16" or "int8" speeds '
   .. 'up a frozen part. '
   .. "All else is float32.", { "graft.fit" })
add("numpy;tolist", "x:table() gives Lua lists; x:save and graft.tensor.load exchange .npy files with NumPy.", { "x:table",
   "x:save" })
add("fc;classifier;num_classes", "net:replace_head(d) puts a new classifier in place, whatever its layer is called; net.head "
   .. "names it.",
   { "net:replace_head", "net.head" })
add("param_groups;discriminative", 'net:lr_scale{ { "*", 1/10 }, { "head", 1 } }: factors on the rate by layer. For one that '
   .. 'is to stay as '
   .. "it is: net:freeze.", { "net:lr_scale" })
add("Sequential;Module", "graft.nn.network{ build = function(x) ... end }, with layers as methods of x.", { "graft.nn.network" })
add("optim;SGD;Adam;AdamW", "graft.sgd{ lr = 0.01 }, graft.adam{...}, graft.adamw{...}: plain values, given to fit or "
   .. "trainer. They need no parameters.", { "graft.sgd", "graft.adamw" })
add("lr_scheduler;OneCycleLR;CosineAnnealingLR", "graft.cosine{}, graft.one_cycle{}, graft.step{}: given as schedule=. They "
   .. "count steps by themselves.", { "graft.cosine", "graft.one_cycle" })
add("CrossEntropyLoss;BCEWithLogitsLoss;criterion", "loss = graft.nn.cross_entropy{...} or graft.nn.binary_cross_entropy{}; "
   .. "fit takes the right one by itself.", { "graft.nn.cross_entropy" })
add("early_stopping;EarlyStopping", "patience = 3 in graft.fit, or on_epoch returning \"stop\"; the best epoch is kept "
   .. "anyway.", { "graft.fit" })
add("checkpoint;ModelCheckpoint", "fit writes best and last into the run folder; --resume goes on, with the same final bits.",
   { "graft.fit", "run.out" })
add("manual_seed;random_seed", "graft.seed(n), or --seed n; without either it is 1.", { "graft.seed" })
add("feature_extractor;hooks;hook", 'net:features(x, { "layer2", "layer4" }) for a batch, graft.embed for many photos.',
   { "net:features",
   "graft.embed" })
add("summary;torchinfo", "print(net), net:summary(\"*\"); graft plan adds memory, time and kernels.", { "net:summary",
   "graft plan" })
add("x == 0", "Silently false: Lua compares values of different types so and asks nobody. Element by element: x:eq(0).",
   { "x == y", "x:eq" }, "print(x == 0, x:eq(1):sum())  --> false  1.0")
add("x > 0;x < 0", "Raises: Lua would make one boolean of the result. Element by element: x:gt(0), x:lt(0).", { "x > y", "x:gt" },
   "print(x:gt(3):sum())  --> 3.0", { { "option", "always", "return x > 0" } })
add("x[0]", "Raises: indices and dimensions start at 1. x[1] is the first, x[-1] the last.", { "x[i]" },
   "print(x[1][1], x[-1][-1])  --> 1.0  6.0",
   { { "shape", "always", "return x[0]" } })
add("epoch = opt.epoch", "A misspelt option is nil, vanishes from the table, and the default would run unseen: so reading a "
   .. "field that does not exist raises in Graft's tables.", { "graft.options" })
add("label;labels", "Nobody sees label numbers: classes are names, targets are rows [N,K], and data and network are matched "
   .. "by name.",
   { "data.classes", "set:batches" })

return topic
