-- The reference: networks. What the fields of an entry mean says scripts/graft/reference.lua.

local models = require "graft.models"

local layer_names = { "name", "string", "required", 'a layer ("layer4.0.conv1"), a stage ("layer4"), a glob over names in '
   .. 'which * crosses dots ("*.bn*"), or a word: "body", "head", "aux", "*"' }
local more_names = { "...", "string", "", "more of them" }
local no_match = { "name", "no layer has that name, or no name is given" }
local itself = { { "graft.network", "the network itself, so that calls chain" } }
local classes = { "classes", "graft.class_source", "required",
   "names of the classes; a data set stands for its own" }

local topic = { name = "networks", title = "Networks", text = [[
A network is a named graph of layers with their parameters. It knows what is frozen and at what rate each layer learns, and
nothing of how it runs. Methods that say what is to be trained change the network and return it, so that they chain; cut and
clone return a new one that shares nothing.

There is no train() and no eval(): graft.fit and graft.trainer train what is not frozen, everything else is inference.]] }

topic.entries = {
   {
      name = "graft.load",
      text = "Reads a pretrained network from a file of weights or a model file: .safetensors, or .pth of both kinds.\n\n"
         .. "A model file that Graft wrote brings its architecture, classes and preprocessing. Of plain weights the "
            .. "architecture is recognised by names and shapes. Nothing in a file is executed. Where to get files: graft help "
            .. "weights.",
      arguments = { { "path", "string", "required", "the file" } },
      options = {
         { "arch", "string", "", "the architecture (graft help models) when it is not recognised" },
         { "classes", "graft.class_source", "", "names of the outputs; without, those of the file, or ImageNet's when there "
            .. "are 1000 outputs" },
         { "exact", "boolean", "false", "the same as net:exact() afterwards" },
      },
      returns = { { "graft.network", "all of it trainable" } },
      errors = {
         { "file", "it cannot be read, ends early, or is not what it claims to be", 'graft.load("photos/ants/1.jpg")' },
         { "name", "no architecture that Graft knows has these tensors", 'graft.load("resnet18.safetensors", { arch = '
            .. '"resnet17" })' },
         { "option", "no path is given", "graft.load()" },
      },
      example = 'local net = graft.load("resnet18.safetensors"):replace_head(d):freeze("body")\n'
         .. 'print(net.head, net:parameters() > net:parameters(true))  --> fc  true',
      see = { "net:replace_head", "net:freeze", "net:save", "graft.models", "weights" },
   },
   {
      name = "graft.models",
      text = "Architectures with random weights, by name. graft help models lists them; graft.models.NAME{...} makes one.",
      type = "table<string, fun(options?: table): graft.network>",
      errors = { { "name", "there is no such architecture", "return graft.models.resnet19" } },
      example = 'for name in pairs(graft.models) do print(name) end',
      see = { "models", "graft.load", "graft.nn.network" },
   },
   { name = "graft.nn", type = "table", text = "What networks of one's own are made of: network, concat, layer; losses, and "
      .. "check.",
      see = { "graft.nn.network", "graft.nn.cross_entropy", "graft.nn.check" } },
   {
      name = "net:freeze",
      text = "These layers are not trained from now on: no gradient, no weight decay, no momentum, batch-norm statistics "
         .. "fixed. graft.fit compares the digest of all frozen tensors before and after.\n\n"
         .. "Freezing goes by layer: a glob that would hit only some tensors of a layer is an error. With a table, names are "
            .. "its list part.",
      arguments = { layer_names, more_names },
      returns = itself,
      errors = { { no_match[1], no_match[2], 'net:freeze("boby")' } },
      example = 'net:freeze("body")\nnet:freeze("layer1.*", "layer2.*")\nnet:freeze{ "layer1", "layer2" }',
      see = { "net:unfreeze", "net:lr_scale", "net:summary", "run.frozen_digest_after" },
   },
   {
      name = "net:unfreeze",
      text = "These layers are trained again. Their batch norms work with the statistics of the batch and update the running "
         .. 'ones, unless bn = "fixed".\n\nNames come as arguments, or as the list part of one table that also holds options.',
      arguments = { layer_names, more_names },
      signature = 'net:unfreeze(name, ...) or {name, ..., bn =} -> network',
      options = {
         { "bn", '"train"|"fixed"', '"train"', '"fixed" keeps the statistics of batch norms as they are while weight and bias '
            .. "learn: for batches of fewer than 8 photos" },
      },
      returns = itself,
      errors = { { no_match[1], no_match[2], 'net:unfreeze("layer9")' }, { "option", "bn is another word",
         'net:unfreeze{ "layer4", bn = "eval" }' } },
      example = 'net:unfreeze("layer3", "layer4")\nnet:unfreeze{ "layer3", "layer4", bn = "fixed" }',
      see = { "net:freeze", "net:lr_scale" },
   },
   {
      name = "net:lr_scale",
      text = "Factors on the learning rate by layer: ordered rules, the last one that matches a layer wins. It replaces all "
         .. "rules given before, and does not depend on the order of freeze and unfreeze.",
      arguments = { { "rules", "table[]", "required", 'list of {name, factor}; names as in net:freeze, factors above 0' } },
      returns = itself,
      errors = { { "name", "no layer matches a rule", 'net:lr_scale{ { "layer9", 1 } }' },
         { "option", "a factor is 0 or less: to leave layers as they are, freeze them", 'net:lr_scale{ { "*", 0 } }' } },
      example = 'net:lr_scale{ { "*", 1/10 }, { "head", 1 } }',
      see = { "net:freeze", "graft.sgd" },
   },
   {
      name = "net:reinit",
      text = "Draws fresh random weights for these layers and resets the statistics of their batch norms. The draw depends on "
         .. "graft.seed and the layer's name: the same seed draws the same. It does not change what is frozen.",
      arguments = { layer_names, more_names },
      returns = itself,
      errors = { { no_match[1], no_match[2], "net:reinit()" } },
      example = 'net:reinit("layer4", "head")',
      see = { "graft.seed", "graft.models" },
   },
   {
      name = "net:exact",
      text = "Computes with kernels alone that round as a direct computation does. Without it 3x3 convolutions use Winograd's "
         .. "transforms, which are faster and differ in the sixth digit. It holds for all that is done with this network.",
      arguments = { { "on", "boolean", "true", "false lets all kernels in again" } },
      returns = itself,
      errors = { { "option", "on is no boolean", 'net:exact("yes")' } },
      example = "net:exact()",
      see = { "graft.load", "graft.fit" },
   },
   {
      name = "net:replace_head",
      text = "Puts a new classifier with random weights for these classes in the place of the old one. The head is the last "
         .. "linear layer and the dropout directly before it. Every classifier starts with small weights (normal, deviation "
         .. "0.01) and no bias: the first loss is about log(classes), and few photos need not undo a random start.",
      arguments = { classes },
      options = {
         { "hidden", "integer", "0", "units of a hidden layer with a ReLU before the classifier; 0: none" },
         { "dropout", "number", "", "dropout before the classifier, 0 to 1; without, that of the old head" },
      },
      returns = itself,
      errors = { { "option", "classes are no list of names", "net:replace_head(3)" },
         { "name", "a class is named twice", 'net:replace_head{ "ants", "ants" }' } },
      example = 'net:replace_head(d)\nnet:replace_head({ "ants", "bees", "wasps" }, { hidden = 256, dropout = 0.2 })',
      see = { "net:add_head", "net.classes", "net.head" },
   },
   {
      name = "net:add_head",
      text = "Puts a classifier on a network that was cut: average over the pixels unless the output is flat, then a linear "
         .. "layer called \"head\".",
      arguments = { classes },
      options = {
         { "hidden", "integer", "0", "units of a hidden layer with a ReLU before the classifier; 0: none" },
         { "dropout", "number", "0", "dropout before the classifier, 0 to 1" },
      },
      returns = itself,
      errors = { { "option", "classes are no list of names", 'net:cut("layer3"):add_head(7)' } },
      example = 'local small = net:cut("layer3"):add_head(d)\nprint(#small.classes)  --> 2',
      see = { "net:cut", "net:replace_head" },
   },
   {
      name = "net:add_aux",
      text = "Adds an auxiliary classifier after a layer or stage, which is trained jointly: its loss, times weight, is added to "
         .. 'the main one. It counts as "head" and "aux" in rules, is left out of inference, and is saved only when asked for.',
      arguments = { { "layer", "string", "required", "the layer or stage that it reads" } },
      options = {
         { "weight", "number", "0.3", "of its loss" },
         { "hidden", "integer", "0", "units of a hidden layer; 0: none" },
         { "pool", '"avg"|"max"', '"avg"', "how a map becomes a row" },
         { "classes", "graft.class_source", "", "only the network's own are possible" },
      },
      returns = itself,
      errors = { { "name", "there is no such layer", 'net:add_aux("layer9")' } },
      example = 'net:add_aux("layer2", { weight = 0.3 })\nprint(graft.fit(net, d, { epochs = 1 }).heads[1].layer)  --> layer2',
      see = { "net:remove_aux", "run.heads", "net:save" },
   },
   {
      name = "net:remove_aux",
      text = "Takes auxiliary classifiers away again.",
      arguments = { { "layer", "string", "", "the layer that one of them reads; without: all" } },
      returns = itself,
      errors = { { "name", "no classifier reads that layer", 'net:remove_aux("layer1")' } },
      example = 'net:add_aux("layer2"):remove_aux("layer2")',
      see = { "net:add_aux" },
   },
   {
      name = "net:cut",
      text = "A new network that ends at a layer or stage and has no classifier. The old one is untouched; what was frozen "
         .. "stays frozen. With head = \"aux\" it ends in the auxiliary classifier that reads that layer, as it was trained: "
         .. "an early exit (graft eval MODEL DATA --heads shows what each costs).",
      arguments = { { "layer", "string", "required", "where it ends" } },
      options = { { "head", '"aux"', "", "the auxiliary classifier there becomes the head" } },
      returns = { { "graft.network", "a new one" } },
      errors = { { "name", "there is no such layer, or no auxiliary classifier", 'net:cut("layer9")' },
         { "option", "head is something else", 'net:cut("layer3", { head = "fc" })' } },
      example = 'local small = net:cut("layer3"):add_head(d)',
      see = { "net:add_head", "net:features" },
   },
   {
      name = "net:clone",
      text = "A copy that shares nothing with the original: weights, freezing, rates, classes.",
      arguments = {},
      returns = { { "graft.network", "a new one" } },
      example = 'local before = net:clone()\nnet:reinit("layer4")\nprint(before:digest() == net:digest())  --> false',
      see = { "net:digest" },
   },
   {
      name = "net:forward",
      text = "Inference on a batch of preprocessed photos. net(x) is the same.",
      arguments = { { "x", "graft.tensor", "required", "[N,C,H,W], as net:preprocess and set:batches make it" } },
      options = { { "heads", "boolean", "false", "the auxiliary classifiers as well: the result is then a table {head = "
         .. "logits, [layer] = logits}" } },
      returns = { { "graft.tensor", "the logits [N,K]: one column a class, before softmax" } },
      overloads = { "fun(self: graft.network, x: graft.tensor, options: { heads: true }): table<string, graft.tensor>" },
      errors = { { "shape", "x has another size than this network reads", "net:forward(graft.zeros(1, 3, 7))" } },
      example = 'local logits = net:forward(net:preprocess("new/a.jpg"))\nprint(#logits:softmax(2)[1])  --> 2',
      see = { "net:predict", "net:features", "net:preprocess" },
   },
   {
      name = "net(x)", operator = { "call", "x: graft.tensor", "graft.tensor" },
      text = "The same as net:forward(x).",
      example = 'print(net(net:preprocess("new/a.jpg")).shape[2])  --> 2',
      see = { "net:forward" },
   },
   {
      name = "net:features",
      text = "Outputs of layers or stages for a batch, computed by inference.",
      arguments = { { "x", "graft.tensor", "required", "[N,C,H,W]" },
         { "names", "string|string[]", "required", "a layer or stage, or a list of them" } },
      returns = { { "graft.tensor", "[N,C,H,W] or [N,D]; of a list a table of them by name" } },
      overloads = { "fun(self: graft.network, x: graft.tensor, names: string[]): table<string, graft.tensor>" },
      errors = { { "name", "there is no such layer", 'net:features(net:preprocess("new/a.jpg"), "layer9")' } },
      example = 'local x = net:preprocess("new/a.jpg")\nprint(net:features(x, "layer2").rank)  --> 4\n'
         .. 'local maps = net:features(x, { "layer2", "layer4" })\nprint(maps.layer4.shape[1])  --> 1',
      see = { "graft.embed", "net.stages", "net:cut" },
   },
   {
      name = "net:preprocess",
      text = "A photo as this network wants it: resized, cropped, and with its mean and deviation taken out.",
      arguments = { { "image", "string|graft.tensor", "required", "a path, or [3,H,W] (or [1,H,W], grey) of numbers 0 to 1" } },
      returns = { { "graft.tensor", "[1,C,H,W]" } },
      errors = { { "file", "it is no photo, or cannot be read", 'net:preprocess("none.jpg")' },
         { "shape", "a tensor of another shape", "net:preprocess(graft.zeros(4, 5))" } },
      example = 'print(net:preprocess("new/a.jpg").shape[2])  --> 3',
      see = { "net.preprocessing", "graft.image.load" },
   },
   {
      name = "net:predict",
      text = "Class names and probabilities of photos, the most likely class first. With several labels a photo the "
         .. "probabilities are sigmoids and do not add up to 1.",
      arguments = { { "images", "string|graft.tensor|(string|graft.tensor)[]", "required",
         "a path or [3,H,W], or a list of them" } },
      options = { { "top", "integer", "5", "how many classes to name" } },
      returns = { { "graft.prediction[]|graft.prediction[][]", "of one photo a list of {class=, p=}; of a list of photos a "
         .. "list of such lists" } },
      fields = { { "class", "string", "name of the class" }, { "p", "number", "its probability, 0 to 1" } },
      errors = { { "file", "a photo cannot be read", 'net:predict("none.jpg")' },
         { "name", "the network has no class names", 'graft.nn.network{ input = { 3, 8, 8 }, build = function(x)\n'
            .. '  return x:global_avg_pool():linear("fc", { out = 2 }) end }:predict("new/a.jpg")' } },
      example = 'for _, guess in ipairs(net:predict("new/a.jpg")) do print(guess.class, guess.p) end',
      see = { "graft.evaluate", "net:forward" },
   },
   {
      name = "net:save",
      text = "Writes a model file: weights, architecture, classes and preprocessing as data, in the safetensors format. It "
         .. "appears whole or not at all. PyTorch's safetensors reader opens it too.",
      arguments = { { "path", "string", "required", "its name should end in .safetensors" } },
      options = { { "aux", "boolean", "false", "auxiliary classifiers as well" } },
      returns = itself,
      errors = { { "file", "it cannot be written", 'net:save("none/here.safetensors")' } },
      example = 'net:save(graft.out("flowers.safetensors"))',
      see = { "graft.load", "graft.out" },
   },
   {
      name = "net:export",
      text = "Writes the network as an ONNX file, for other programs to run; Graft itself does not read it. graft export tells "
         .. "what is in it. Auxiliary classifiers become outputs of their own, LAYER/logits.",
      arguments = { { "path", "string", "required", "its name should end in .onnx" } },
      options = { { "aux", "boolean", "false", "auxiliary classifiers as well" } },
      returns = itself,
      errors = { { "file", "it cannot be written", 'net:export("none/here.onnx")' },
         { "option", "a layer is written in Lua, for which ONNX has no operator",
            'graft.nn.network{ name = "own", input = { 3, 8, 8 }, build = function(x)\n'
            .. '  return x:apply("half", graft.nn.layer{ kind = "half_export", forward = function(v) return v * 0.5 end })\n'
            .. 'end }:export("own.onnx")' } },
      example = 'net:export(graft.out("flowers.onnx"))',
      see = { "net:save", "graft export" },
   },
   {
      name = "net:summary",
      text = "The table of a network as text: stages, or with a glob every layer that it matches. print(net) shows the same.",
      arguments = { { "glob", "string", "", 'names of layers, such as "layer4.*" or "*"' } },
      returns = { { "string", "columns layer, output, parameters, state, lr, batch norm" } },
      errors = { { "name", "no layer matches", 'net:summary("layer9.*")' } },
      example = 'print(net:summary("*"))',
      see = { "net:layers", "graft.plan" },
   },
   {
      name = "net:layers",
      text = "Goes through the layers in network order: for name, layer in net:layers() do ... end.",
      arguments = { { "glob", "string", "", "only layers whose name it matches" } },
      returns = { { "fun(): string, graft.layer_row", "gives the name and a table of what is known of the layer" } },
      fields = {
         { "name", "string", "of the layer" },
         { "kind", "string", "what it is: conv2d, linear ..." },
         { "shape", "integer[]", "of its output: {C,H,W}, or {C} when flat" },
         { "parameters", "integer", "how many numbers it learns" },
         { "trained", "boolean", "it has parameters and is not frozen" },
         { "frozen", "boolean", "it is frozen" },
         { "fixed_norm", "boolean", "its statistics stay although it is trained" },
         { "norm", "boolean", "it has running statistics" },
         { "lr_scale", "number", "factor on the learning rate" },
         { "head", "boolean", "it belongs to the classifier" },
         { "aux", "boolean", "it belongs to an auxiliary classifier" },
         { "stage", "string?", "the stage that it belongs to" },
         { "source", "string?", "file that its values came from; nil: random" },
         { "inputs", "string[]", "layers that it reads" },
         { "tensors", "string[]", "names of its tensors, as files have them" },
         { "options", "table", "as they were given when the network was built" },
      },
      example = 'for name, layer in net:layers("layer4.*") do print(name, layer.kind, layer.parameters) end',
      see = { "net:summary", "net.stages" },
   },
   {
      name = "net:parameters",
      text = "How many parameters there are.",
      arguments = { { "trained_only", "boolean", "false", "only of those that are not frozen" } },
      returns = { { "integer", "numbers, not bytes" } },
      example = "print(net:parameters(true) < net:parameters())  --> true",
      see = { "net:summary" },
   },
   {
      name = "net:digest",
      text = "SHA-256 over name, type, shape and bytes of every tensor, statistics included. Equal digests mean equal networks.",
      arguments = {},
      returns = { { "string", "64 hexadecimal digits" } },
      example = "print(#net:digest())  --> 64",
      see = { "run.digest" },
   },
   {
      name = "net:close",
      text = "Releases the memory now instead of when the collector comes. `local net <close> = graft.load(path)` in a "
         .. "function does so at its end.",
      arguments = {},
      errors = { { "option", "the network is used afterwards", "net:close() net:parameters()" } },
      example = 'do\n  local net <close> = graft.load("resnet18.safetensors")\n  print(net.head)  --> fc\nend',
      see = { "graft.config" },
   },
   {
      name = "net:train",
      text = "Raises, and says why it is not needed: graft.fit and graft.trainer train what is not frozen; everything else is "
         .. "inference.",
      arguments = {},
      errors = { { "name", "always", "net:train()" } },
      see = { "graft.fit", "graft.trainer" },
   },
   {
      name = "net:eval",
      text = "Raises, and says why it is not needed: net:forward, net:features and net:predict are always inference. "
         .. "graft.evaluate measures.",
      arguments = {},
      errors = { { "name", "always", "net:eval()" } },
      see = { "graft.evaluate" },
   },
   { name = "net.stages", type = "string[]", text = "Names of the stages from input to output, the stem first. A stage is "
      .. "everything up to its last layer.", example = "print(net.stages[1], #net.stages)  --> conv1  5",
      see = { "net:features", "net:cut" } },
   { name = "net.head", type = "string", text = "Name of the classifier's layer.", example = "print(net.head)  --> fc",
      see = { "net:replace_head" } },
   { name = "net.classes", type = "string[]", text = "Names of the classes, in the order of the outputs; empty when there are "
      .. "none.", example = 'print(table.concat(net.classes, " "))  --> ants bees', see = { "data.classes" } },
   { name = "net.name", type = "string", text = "Name of the architecture.", example = "print(net.name)  --> resnet18" },
   { name = "net.preprocessing", type = "table", text = "How a photo becomes the input. It travels with the weights.",
      fields = {
         { "resize", "integer", "pixels of the short side before the crop to the input's size" },
         { "stretch", "boolean", "both sides are brought to the input's size instead, without a crop" },
         { "interpolation", '"bilinear"|"bicubic"', "how pixels are weighed" },
         { "mean", "number[]", "taken from each channel, of values 0 to 1" },
         { "std", "number[]", "by which it is then divided" },
         { "bgr", "boolean", "channels run blue, green, red" },
      },
      example = "print(net.preprocessing.interpolation)  --> bilinear", see = { "net:preprocess" } },
}

for _, name in ipairs(models.names) do
   local spec = models.specs[name]
   local shape = ("[%d,%d,%d]"):format(table.unpack(spec.input))
   table.insert(topic.entries, {
      name = "graft.models." .. name, example = name == "resnet18" and "local net = graft.models.resnet18{ classes = d, size "
         .. "= 64 }"
         or nil,
      text = ("%s with random weights. Input %s, head \"%s\", stages %s."):format(name, shape, spec.head,
         table.concat(spec.stages, ", ")),
      options = {
         { "classes", "graft.class_source", "", "names of the outputs; without: ImageNet's 1000" },
         { "size", "integer", tostring(spec.input[2]), "pixels of the input's sides" },
      },
      returns = { { "graft.network", "all of it trainable" } },
      see = { "graft.load", "models" },
   })
end

return topic
