-- The reference: one short entry for each public name. `help "freeze"` at the prompt and `graft help freeze` print it, and
-- Tab takes the fields and methods of values from it.
--
-- Names are written as they are used: net is a network, data a data set, set one of its parts, b a batch, tr a trainer,
-- run what fit returns, x a tensor.

local core = require "graft.core"

local reference = {}

-- {name, what follows it, what it does, example or nil}
local entries = {
   -- networks: where they come from
   { "graft.load", "(path, {arch=, classes=, exact=false}) -> net",
      "A pretrained network from a weights or model file (.safetensors, .pth). The architecture is recognised by the tensors; "
      .. "arch= says it when it is not; exact= is net:exact. Where to get files: help \"weights\".",
      'net = graft.load("resnet18.pth"):replace_head(d):freeze("body")' },
   { "graft.models", ".NAME{classes=, size=} -> net",
      "An architecture with random weights. Names: help \"models\".", 'net = graft.models.resnet18{ classes = d.classes }' },
   { "graft.nn.network", "{name=, input={3,H,W}, classes=, head=, stages={}, preprocessing=, "
      .. "build=function(x) return logits end} -> net",
      "A network of one's own. x stands for the input; layers are its methods (help \"layers\"), a + b and a * b join nodes.",
      'net = graft.nn.network{ input = { 3, 64, 64 }, classes = d, build = function(x)\n'
      .. '  return x:conv2d("conv1", { out = 16, kernel = 3 }):relu():global_avg_pool():linear("fc", { out = 4 }) end }' },
   { "graft.nn.concat", "{a, b, ...} -> node", "Joins nodes along the channels." },
   { "graft.nn.layer", "{kind=, shape=, parameters=, forward=, backward=} -> layer",
      "A kind of layer written in Lua: forward(x, p) -> y, saved; backward(gy, x, y, p, saved) -> gx, {gradients}. "
      .. "Used as x:apply(NAME, layer). graft.nn.check compares its gradient with finite differences." },
   { "graft.nn.check", "(loss or layer, shape) -> number",
      "Compares the gradient with finite differences at random points and raises when it is off.",
      "graft.nn.check(brier, { 8, 4 })" },
   { "graft.nn.cross_entropy", "{label_smoothing=, class_weights={mugs=2}} -> loss",
      "The loss that fit takes by itself. A loss is called as loss(logits, y, b) and returns a number and the gradient." },
   { "graft.nn.binary_cross_entropy", "{} -> loss", "The loss for several labels a photo." },
   { "graft.nn.mse", "{} -> loss", "Mean squared error of logits and targets." },

   -- networks: methods
   { "net:freeze", "(NAME, ...) -> net",
      "These layers are not trained: no gradient, no weight decay, batch-norm statistics fixed. Names are layers, stages, globs "
      .. "such as \"layer4.*\", or the words \"body\", \"head\", \"aux\", \"*\".", 'net:freeze("body")' },
   { "net:unfreeze", '(NAME, ... or {NAME, ..., bn="fixed"}) -> net',
      "These layers are trained again. bn=\"fixed\" keeps batch-norm statistics as they are, for tiny batches.",
      'net:unfreeze("layer4")' },
   { "net:exact", "([true]) -> net",
      "Only kernels that round as a direct computation does: 3x3 convolutions without Winograd's transforms, which are faster "
      .. "and differ in the sixth digit. It holds for all that is done with the network; net:exact(false) ends it.",
      "net:exact()" },
   { "net:reinit", "(NAME, ...) -> net",
      "Fresh random weights for these layers, statistics reset.", 'net:reinit("layer4", "head")' },
   { "net:lr_scale", "{{NAME, scale}, ...} -> net",
      "Factors of the learning rate; the last rule that matches a layer wins. Replaces all earlier rules. "
      .. "Zero is an error: freeze.",
      'net:lr_scale{ { "*", 1/10 }, { "head", 1 } }' },
   { "net:replace_head", "(classes or data, {hidden=, dropout=}) -> net",
      "A new classifier for these classes, with random weights.",
      "net:replace_head(d)" },
   { "net:add_head", "(classes or data, {hidden=, dropout=}) -> net", "A classifier on a network that was cut.",
      'net = net:cut("layer3"):add_head(d)' },
   { "net:add_aux", '(layer, {weight=0.3, hidden=0, pool="avg"}) -> net',
      "An auxiliary classifier after that layer, trained jointly.", 'net:add_aux("layer2", { weight = 0.3 })' },
   { "net:remove_aux", "([layer]) -> net", "Takes auxiliary classifiers away again." },
   { "net:cut", "(layer) -> net", "A new network that ends at that layer or stage. The old one is untouched." },
   { "net:clone", "() -> net", "A copy that shares nothing." },
   { "net:forward", "(x, {heads=false}) -> logits",
      "Inference on a batch [N,C,H,W]; net(x) is the same. There is no train() or "
      .. "eval(): fit and trainer train, all else is inference." },
   { "net:features", "(x, NAME or {NAME, ...}) -> tensor or table", "Outputs of layers or stages for a batch.",
      'net:features(net:preprocess("a.jpg"), "layer2")' },
   { "net:preprocess", "(image) -> [1,3,H,W]", "A photo (path or [3,H,W]) as this network wants it." },
   { "net:predict", "(image or list, {top=5}) -> {{class=, p=}, ...}",
      "Class names and probabilities, best first; a list of images gives a list.", 'net:predict("new/a.jpg")' },
   { "net:save", "(path, {aux=false}) -> net",
      "A model file: weights, architecture, classes, preprocessing. Auxiliary classifiers stay out unless aux=true." },
   { "net:summary", "([glob]) -> text", "The table of stages, or of the layers that the glob names.", 'print(net:summary("*"))' },
   { "net:layers", "([glob]) -> iterator", "for name, layer in net:layers(): rows with kind, shape, parameters, frozen ..." },
   { "net:parameters", "([trained only]) -> number", "How many parameters there are." },
   { "net:digest", "() -> text", "sha256 of all tensors." },
   { "net:close", "()", "Releases the memory now; `local net <close> =` in a function does so at its end." },
   { "net.stages", "", "List of stage names from input to output, the stem first." },
   { "net.head", "", "Name of the classifier's layer." },
   { "net.classes", "", "List of class names." },
   { "net.name", "", "Name of the architecture." },
   { "net.preprocessing", "", "How a photo becomes the input: resize, interpolation, mean, std, bgr." },

   -- data
   { "graft.data.folder", '(dir, {val=0.2, classes=, size=, on_bad="skip", max_skip=0.05}) -> data',
      "Photos, one folder a class; below train/ and val/ (and test/), or val= holds out a share of each class. size= overrides "
      .. "the network's.", 'd = graft.data.folder("photos", { val = 0.2 })' },
   { "graft.data.csv", '(file, {image=, label= or labels=, separator=, val= or split=}) -> data',
      "A table of photos; several labels a photo by labels= with a separator or a list of 0/1 columns. "
      .. "Paths are relative to the file.",
      'd = graft.data.csv("tags.csv", { image = "file", labels = "tags", separator = "|", val = 0.2 })' },
   { "graft.data.idx", "(dir, {names=, classes=, val=}) -> data", "The IDX files of MNIST and its relatives." },
   { "graft.data.list", "({{image=, class=}, ...}, options) -> data", "A list made in Lua." },
   { "data.classes", "", "List of class names; wherever classes are asked for, the data set itself will do." },
   { "data.counts", "", "Photos of each class: data.counts.mugs" },
   { "data.skipped", "", "List of {file=, reason=}: what could not be read." },
   { "data.train", "", "The set to train on. #d.train, d.train[1].file" },
   { "data.val", "", "The set to validate on." },
   { "data.test", "", "The test set; never trained on, empty when there is none." },
   { "data:take", "{per_class=, seed=} -> data", "The same data with fewer photos to train on." },
   { "set:take", "{per_class=, seed=} -> set", "Some photos of each class." },
   { "set:batches", '{net=, batch_size=32, shuffle=false, epoch=1, augment="none", drop_last=false} -> iterator',
      "for x, y, b in set:batches{...}: x [N,C,H,W], y [N,K] targets, b the batch.",
      "for x, y, b in d.train:batches{ net = net, shuffle = true, epoch = e } do ... end" },
   { "b:input", "(net) -> x", "The same photos and crops as another network wants them." },
   { "b.files", "", "Files of the batch." },
   { "b.classes", "", "Class names of the batch." },
   { "b.epoch", "", "The epoch it belongs to." },
   { "graft.augment", ".hflip{} random_resized_crop{} color_jitter{} rotation{} random_erasing{} mixup{}",
      'Values for augment= of fit and batches: a list of these, or "none", "light", "standard".',
      "augment = { graft.augment.hflip{}, graft.augment.rotation{ degrees = 15 } }" },
   { "graft.augment.hflip", "{p=0.5}", "Mirrors left and right." },
   { "graft.augment.random_resized_crop", "{scale={0.08,1}, ratio={3/4,4/3}}",
      "A random part of the photo, at the network's size." },
   { "graft.augment.color_jitter", "{brightness=0.2, contrast=0.2, saturation=0.2, hue=0}", "Changes colours a little." },
   { "graft.augment.rotation", "{degrees=10}", "Turns by up to so many degrees." },
   { "graft.augment.random_erasing", "{p=0.5, scale={0.02,0.33}}", "Blanks a rectangle." },
   { "graft.augment.mixup", "{alpha=0.2}", "Blends pairs of photos and their targets." },

   -- training
   { "graft.fit",
      "(net, data, {epochs=20, batch_size=32, optimizer=, schedule=, augment=, loss=, keep=\"best\", patience=, clip=, "
      .. "bn=, val=, monitor=, on_epoch=, name=, out=, resume=, cache=, threads=, stash=\"none\", prefix=\"float32\"}) -> run",
      "Trains what is not frozen, in place; afterwards net holds the best epoch by val_accuracy (keep=\"last\": the last). "
      .. 'cache="auto", "none" or "pool:K": see graft help cache. '
      .. 'stash="bf16" keeps activations for the backward pass as bfloat16: less memory, gradients off by about 0.2 %. '
      .. 'prefix="bf16" or "int8": the convolutions of the frozen part with inputs and weights rounded, faster where the '
      .. "processor can (not with net:exact); run.float32 is the accuracy without. "
      .. "Ctrl-C at the prompt stops it in good order.",
      "graft.fit(net, d, { epochs = 20, optimizer = graft.adamw{ lr = 1e-3 } })" },
   { "graft.fine_tune", "(net, data, {epochs=, batch_size=, lr=, augment=, out=}) -> run",
      "The usual two phases: the new head alone, then everything, pretrained layers at one tenth of the rate." },
   { "graft.trainer", "(net, {optimizer=, loss=, schedule=, steps=, clip=, stash=}) -> tr",
      "For loops of one's own: tr:step trains on one batch. Gradients are made anew in every step, so there is no zero_grad." },
   { "tr:step", "(x, y [, b]) -> loss", "One step on a batch; y may also be a list of class names." },
   { "tr:evaluate", "(set) -> result", "As graft.evaluate." },
   { "tr:epochs", "(n) -> iterator",
      "for e in tr:epochs(n): begins where an interrupted run ended, and saves after each epoch." },
   { "tr:log", "{epoch=, train_loss=, val_accuracy=, ...}",
      "A row of metrics.csv and a line of progress; keeps the best by val_accuracy." },
   { "tr.lr", "", "The present learning rate." },
   { "tr.steps", "", "Steps done." },
   { "graft.sgd", "{lr=, momentum=0, dampening=0, nesterov=false, weight_decay=0}",
      "Optimiser; a plain value that can be used again.",
      "graft.sgd{ lr = 0.01, momentum = 0.9 }" },
   { "graft.adam", "{lr=, betas={0.9,0.999}, eps=1e-8, weight_decay=0}", "Optimiser." },
   { "graft.adamw", "{lr=, betas={0.9,0.999}, eps=1e-8, weight_decay=0.01}", "Optimiser.", "graft.adamw{ lr = 1e-3 }" },
   { "graft.rmsprop", "{lr=, alpha=0.99, eps=1e-8, momentum=0, weight_decay=0}", "Optimiser." },
   { "graft.constant", "{warmup=0}", "Schedule: the same rate throughout. warmup is a share of all steps." },
   { "graft.step", "{every=, factor=0.1, warmup=0}", "Schedule: times factor every so many epochs." },
   { "graft.cosine", "{floor=0, warmup=0}", "Schedule: down along a cosine.", "graft.cosine{ warmup = 0.1 }" },
   { "graft.one_cycle", "{warmup=0.3, floor=}", "Schedule: up for a share of the steps, then down." },
   { "run.epochs", "", "Rows: epoch, train_loss, val_loss, val_accuracy, lr, seconds." },
   { "run.best", "", "The best epoch: epoch, val_accuracy, val_loss; nil without validation." },
   { "run.heads", "", "Accuracy of auxiliary classifiers: {layer=, accuracy=} in network order." },
   { "run.cache", "", "What was kept of the frozen part: mode, layers, bytes, hits, where." },
   { "run.stopped", "", 'Why it ended: "done", "patience", "interrupt" or "on_epoch".' },
   { "run.kept", "", 'Which weights net holds now: "best" or "last".' },
   { "run.out", "", "The run folder." },

   -- looking
   { "graft.evaluate", "(net, set, {batch_size=, prefix=}) -> {accuracy, top5, loss, classes, confusion, heads}",
      'How well it does on a set. prefix= as in graft.fit.',
      "graft.evaluate(net, d.val)" },
   { "graft.embed", '(net, set or files, {at=, pool="avg", normalize=false, prefix=}) -> E [N,D], info',
      "Pooled features of photos at one layer; info.files and info.classes." },
   { "graft.plan", "(net, data, options of fit)", "Prints what fit would do: layers, memory, time. Trains nothing." },
   { "graft.report", "(run or result, path)", "Writes it as a text or .html page." },
   { "graft.image.load", "(path) -> [3,H,W]", "A photo as floats 0..1, EXIF orientation applied." },
   { "graft.image.save", "(x, path [, quality])", "Writes [3,H,W] as .jpg or .png." },
   { "graft.image.resize", '(x, height, width [, "bicubic"]) -> x', "Another size." },
   { "graft.image.show", "(path or [3,H,W])", "The picture in half blocks.", "graft.image.show(d.train[1].file)" },

   -- the session
   { "graft.seed", "(n) -> n", "Every random stream derives from it; 1 without. --seed on the command line wins." },
   { "graft.options", "{name = default or {type=, help=, default=}} -> opt",
      "What a recipe takes on its command line. Types: folder, file, integer, number, boolean, string, choice.",
      'opt = graft.options{ data = { type = "folder" }, epochs = 20 }' },
   { "graft.out", "(name) -> path", "A path in the run folder." },
   { "graft.config", "{threads=, memory=, progress=}", "For programs that embed Graft. memory in bytes, 0: no limit." },
   { "graft.mode", "", '"run", "plan", "prompt" or "module".' },
   { "graft.version", "", "The version." },

   -- tensors
   { "graft.tensor", "(number, nested list) -> x",
      "A tensor of these values. Indices and dimensions count from 1, negative from the end.",
      "graft.tensor{ { 1, 2 }, { 3, 4 } }" },
   { "graft.tensor.load", "(path) -> x", "Reads a .npy file." },
   { "graft.zeros", "(n, ...) -> x", "Zeros of this shape; sizes or one list of them.", "graft.zeros(2, 3)" },
   { "graft.ones", "(n, ...) -> x", "Ones of this shape." },
   { "graft.full", "({n, ...}, value) -> x", "One value everywhere." },
   { "graft.eye", "(n) -> x", "The identity matrix." },
   { "graft.rand", "(n, ...) -> x", "Uniform random numbers from 0 to 1." },
   { "graft.randn", "(n, ...) -> x", "Normal random numbers." },
   { "graft.range", "(first, last [, step]) -> x", "The last one is included, as in Lua's for." },
   { "graft.arange", "(n) or (first, stop [, step]) -> x", "The last one is left out, as in NumPy." },
   { "graft.linspace", "(first, last, n) -> x", "n numbers at equal distances." },
   { "graft.concat", "({a, b, ...} [, dim = 1]) -> x", "Joins along a dimension." },
   { "graft.cat", "({a, b, ...} [, dim = 1]) -> x", "concat." },
   { "graft.stack", "({a, b, ...} [, dim = 1]) -> x", "Joins along a new dimension." },
   { "x.shape", "", "List of sizes; #x is the first." },
   { "x.rank", "", "Number of dimensions." },
   { "x.dtype", "", '"float32" and so on.' },
   { "x:slice", "(dim, first, last) -> view", "Both ends included." },
   { "x:select", "(dim, i) -> view", "Without that dimension." },
   { "x:at", "(i, j, ...) -> number or view", "As x[i][j]." },
   { "x:t", "() -> view", "The matrix transposed." },
   { "x:transpose", "(a, b) -> view", "Two dimensions swapped." },
   { "x:permute", "(dims...) -> view", "Dimensions in another order." },
   { "x:reshape", "(n, ...) -> x", "Another shape; one size may be -1." },
   { "x:view", "(n, ...) -> view", "As reshape, but never a copy." },
   { "x:expand", "(n, ...) -> view", "Sizes of 1 repeated without a copy." },
   { "x:flatten", "([first, last]) -> x", "Dimensions made one." },
   { "x:squeeze", "([dim]) -> view", "Without dimensions of size 1." },
   { "x:unsqueeze", "(dim) -> view", "A new dimension of size 1." },
   { "x:clone", "() -> x", "A copy." },
   { "x:contiguous", "() -> x", "Itself, or a copy when it is a view with gaps." },
   { "x:float", "() -> x", "As float32." },
   { "x:fill", "(value) -> x", "In place." },
   { "x:fill_", "(value) -> x", "In place." },
   { "x:copy_", "(other) -> x", "Takes over another tensor's values." },
   { "x:table", "() -> nested list", "The numbers as Lua lists." },
   { "x:item", "() -> number", "The only element." },
   { "x:save", "(path) -> x", "Writes a .npy file." },
   { "x:close", "()", "Releases the memory now." },
   { "x:matmul", "(other) -> x", "Product of matrices, or of batches of them." },
   { "x:softmax", "(dim) -> x", "Probabilities along a dimension." },
   { "x:log_softmax", "(dim) -> x", "Their logarithms." },
   { "x:clamp", "(low, high) -> x", "Cut off at both ends; nil is no bound." },
   { "x:where", "(a, b) -> x", "a where x is not 0, else b." },
   { "x:argmax", "([dim]) -> list", "Places of the largest, counted from 1." },
   { "x:argmin", "([dim]) -> list", "Places of the smallest." },
   { "x:argsort", "([dim [, descending]]) -> lists", "Places in order." },
   { "x:topk", "(k [, dim [, largest]]) -> lists, values", "Places first, then values (PyTorch has them the other way round).",
      "asked:matmul(known:t()):topk(5, 2)" },
}

-- Families of methods on tensors that one line explains.
local families = {
   { "sum mean prod max min var std", "([dim [, keep]])", "Over everything: a Lua number; along dim: a tensor." },
   { "exp log sqrt abs neg sign square tanh sigmoid relu round floor ceil sin cos", "() -> x",
      "Element by element; NAME_ works in place." },
   { "add sub mul div pow maximum minimum", "(tensor or number) -> x",
      "Element by element with broadcasting; also + - * / ^. NAME_ works in place." },
   { "eq ne lt le gt ge", "(tensor or number) -> x",
      "1 where it holds, else 0. x == y asks for the same shape and values; x > 0 raises, "
      .. "and x == 0 is silently false." },
}
for _, family in ipairs(families) do
   for name in family[1]:gmatch("%S+") do
      entries[#entries + 1] = { "x:" .. name, family[2], family[3] }
   end
end

-- What people look for who come from PyTorch.
local elsewhere = {
   zero_grad = "Gradients are made anew in every tr:step; there is nothing to set to zero.",
   backward = "There is no tape: a loss returns its value and its gradient, and tr:step does the rest.",
   no_grad = "Not needed: forward, features and predict are always inference.",
   train = "net:train() is not needed: graft.fit and graft.trainer train what is not frozen.",
   eval = "net:eval() is not needed: forward, features and predict are always inference. graft.evaluate measures.",
   requires_grad = 'net:freeze("...") and net:unfreeze("...").',
   state_dict = "net:save(path) and graft.load(path).",
   DataLoader = "graft.data.folder(dir), then d.train:batches{...}.",
   cuda = "Graft computes on the processor.",
}

local prefixes = { ["graft.network"] = "net", ["graft.data"] = "data", ["graft.set"] = "set", ["graft.batch"] = "b",
   ["graft.trainer"] = "tr", ["graft.run"] = "run", ["graft.tensor"] = "x" }

-- Names after `value:` or `value.` for a value of this type (its metatable's __name).
function reference.members(type_name, separator)
   local start, names = prefixes[type_name], {}
   for _, entry in ipairs(start and entries or {}) do
      local name = entry[1]:match("^" .. start .. "%" .. separator .. "([%w_]+)$")
      names[#names + 1] = name
   end
   return names
end

local function last_word(name)
   return name:match("[%w_]+$")
end

-- All names, in full and as the last word alone, without order.
function reference.names()
   local names, seen = {}, {}
   local function add(name)
      if not seen[name] then
         names[#names + 1], seen[name] = name, true
      end
   end
   for _, entry in ipairs(entries) do
      add(entry[1])
      add(last_word(entry[1]))
   end
   for name in pairs(elsewhere) do
      add(name)
   end
   for _, kind in ipairs(core.kinds()) do
      add(kind.name)
   end
   return names
end

-- Words in lines of up to 100 characters.
local function wrap(text, indent)
   local lines, line = {}, indent
   for word in text:gmatch("%S+") do
      if #line + #word > 100 and line ~= indent then
         lines[#lines + 1], line = line, indent
      end
      line = line .. (line == indent and "" or " ") .. word
   end
   lines[#lines + 1] = line
   return table.concat(lines, "\n")
end

local function text_of(entry)
   local text = wrap(entry[1] .. entry[2], "") .. "\n" .. wrap(entry[3], "    ")
   if entry[4] then
      text = text .. "\n\n    " .. entry[4]:gsub("\n", "\n    ")
   end
   return text
end

local function layer_text(name)
   for _, kind in ipairs(core.kinds()) do
      if kind.name == name and name ~= "input" and name ~= "custom" then
         local names = {}
         for i, option in ipairs(kind.options) do
            names[i] = option.name .. "="
         end
         return ("layer x:%s([NAME, ]%s)\n    %s"):format(name, #names > 0 and "{" .. table.concat(names, ", ") .. "}" or "",
            kind.summary)
      end
   end
end

-- The entry of a name, or of all names that end so ("load": graft.load, graft.image.load ...); nil when there is none.
function reference.text(name)
   local found = {}
   for _, entry in ipairs(entries) do
      if entry[1] == name then
         return text_of(entry)
      elseif last_word(entry[1]) == name then
         found[#found + 1] = text_of(entry)
      end
   end
   found[#found + 1] = layer_text(name)
   if elsewhere[name] then
      found[#found + 1] = elsewhere[name]
   end
   return #found > 0 and table.concat(found, "\n\n") or nil
end

return reference
