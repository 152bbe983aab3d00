-- The reference: the search for a learning rate. What the fields of an entry mean says scripts/graft/reference.lua.

local point = {
   { "lr", "number", "the rate of this step" },
   { "loss", "number", "of its photos, before the step" },
   { "smoothed", "number", "moving average of the losses so far, without bias towards 0" },
}

local topic = { name = "lr_find", title = "A learning rate", text = [[
graft.lr_find trains a copy of the network while the rate rises from step to step, and shows at which rates the loss falls. A few
passes over the photos tell what would otherwise take a training for each rate.

The network, its statistics, every random stream and the order of the photos in the fit that follows stay as they were; no file is
written.]] }

topic.entries = {
   {
      name = "graft.lr_find",
      text = "Suggests a learning rate: trains a copy of the network while the rate rises, and looks at the loss.\n\n"
         .. "This is the range test of Smith (2015): the rate grows by the same factor in each step, and the loss is smoothed. "
         .. "It ends early where the smoothed loss is 4 times its lowest, or no number. The suggestion is the geometric mean of "
         .. "two rates: where the smoothed loss fell fastest, and a tenth of where it was lowest. "
         .. "What is frozen, lr_scale and the options are as graft.fit would have them, so give it those "
         .. "of the fit that shall follow; a frozen part is computed once, and the fit finds it. "
         .. "print(found) draws the "
         .. "curve, graft.report(found, \"lr.html\") makes a page. Under graft plan nothing is searched: the planning ends where "
         .. "the recipe reads what only the search can tell.",
      arguments = { { "net", "graft.network", "required", "is left as it is" },
         { "data", "graft.data", "required", "its data.train alone is used" } },
      options = {
         { "optimizer", "graft.optimizer", "graft.sgd{ lr = 0.01, momentum = 0.9 }", "its own lr does not matter" },
         { "batch_size", "integer", "32", "photos in a step: the best rate depends on it" },
         { "start", "number", "1e-5", "rate of the first step" },
         { "stop", "number", "1", "rate of the last step" },
         { "steps", "integer", "", "10 or more; without: 100, but no more than 5 passes over the photos, but at least 50" },
         { "augment", '"none"|"light"|"standard"|graft.augmentation[]', '"none"', "as in graft.fit" },
         { "loss", "graft.loss|graft.loss_function", "", "as in graft.fit" },
         { "clip", "number", "", "as in graft.fit" },
         { "bn", '"train"|"fixed"', '"train"', "as in graft.fit" },
         { "stash", '"none"|"bf16"', '"none"', "as in graft.fit" },
         { "prefix", '"float32"|"bf16"|"int8"', '"float32"', "as in graft.fit" },
         { "cache", 'string|{ pool?: integer, memory?: integer }', '"auto"', "as in graft.fit, but never in a file", {
            { "pool", "integer", "", "views of each photo, 1 to 1,000" },
            { "memory", "integer", "", "bytes of memory that it may take" } } },
      },
      returns = { { "graft.lr", "see found.lr and its neighbours" } },
      errors = {
         { "option", "an option is unknown or has a wrong value; every layer is frozen",
            "graft.lr_find(net, d, { start = 1, stop = 0.1 })" },
         { "name", "the network tells other classes apart than the data has",
            'graft.lr_find(graft.load("resnet18.safetensors"), d)' },
      },
      example = "net:unfreeze(\"*\")\nlocal found = graft.lr_find(net, d, { start = 1e-3, bn = \"train\" })\n"
         .. "print(found.lr == tonumber(found.optimizer:match(\"lr = ([%d.e-]+)\")))  --> true",
      see = { "found.lr", "graft.fit", "net:lr_scale" },
   },
   { name = "found.lr", type = "number", text = "The suggestion: the geometric mean of found.steepest and a tenth of "
      .. "found.minimum, in two digits. Raises where the loss fell at no rate.",
      errors = { { "number", "the loss did not fall: found.why",
         "local flat = graft.lr_find(net, d, { steps = 10, start = 1e-9, stop = 1e-8 })\nreturn flat.lr" } },
      example = "print(found.lr < found.minimum)  --> true" },
   { name = "found.minimum", type = "number?", text = "The rate at which the smoothed loss was lowest; nil where it did "
      .. "not fall.",
      example = "print(found.minimum > 1e-3)  --> true" },
   { name = "found.steepest", type = "number?", text = "The rate at which it fell fastest; nil where it did not fall.",
      example = "print(found.steepest <= found.minimum)  --> true" },
   { name = "found.began", type = "number?", text = "The loss before the rates took effect: the mean of the first tenth of the "
      .. "steps.",
      example = "print(found.began > found.lowest)  --> true" },
   { name = "found.lowest", type = "number?", text = "The lowest smoothed loss.", example = "print(found.lowest > 0)  --> true" },
   { name = "found.points", type = "graft.lr_point[]", text = "A row for each step that was made.", fields = point,
      example = "print(found.points[1].lr)  --> 0.001" },
   { name = "found.why", type = "string", text = "The rule, and what it rests on; without a suggestion why there is none.",
      example = 'print(found.why:find("geometrically") ~= nil)  --> true' },
   { name = "found.ended", type = '"stop"|"worse"|"number"', text = 'Why it ended: at the last rate, since the smoothed loss was '
      .. '4 times its lowest and above its beginning, or since a loss or gradient was no number.',
      example = 'print(found.ended == "stop" or found.ended == "worse")  --> true' },
   { name = "found.optimizer", type = "string", text = "The Lua of the optimiser with the rate that is suggested.",
      example = 'print(found.optimizer:sub(1, 16))  --> graft.sgd { lr =' },
   { name = "found.batch_size", type = "integer", text = "Photos in a step.", example = "print(found.batch_size)  --> 12" },
   { name = "found.steps", type = "integer", text = "Steps that there would have been.", example = "print(found.steps)  --> 50" },
   { name = "found.seconds", type = "number", text = "What it took.", example = "print(found.seconds > 0)  --> true" },
}

return topic
