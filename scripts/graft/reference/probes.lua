-- The reference: probes and advice. What the fields of an entry mean says scripts/graft/reference.lua.

local network = { "net", "graft.network", "required", "a network, usually as graft.load gave it" }
local data = { "data", "graft.data", "required", "its photos to train on are probed, no others" }

local depth = { { "layer", "string", "the depth" }, { "features", "integer", "numbers a photo" },
   { "accuracy", "number", "share of the photos that were right when they were held out" },
   { "low", "number", "the lower end of its 95 % interval" }, { "high", "number", "the upper end" } }

return { name = "probes", title = "Probes and advice", text = [[
What should be transferred? A probe fits a linear classifier to the features of each depth of a frozen network and judges it on
photos that it was not fitted to: how much of your task the network already knows, and where. With a part of the photos it tells
whether more of them would help. An advice reads that: where the task stands in the table of little or much data against like or
unlike the pretraining, and what to do there.]], entries = {
   {
      name = "graft.probe",
      text = "Measures each depth of a network by a linear classifier on its features. The photos pass the network once; folds "
         .. "are held out in turn, and how strongly a classifier is held back is chosen inside the part that it is fitted to. "
         .. "print(p) shows the table. Nothing is trained in the network, and nothing changes.",
      arguments = { network, data },
      options = { { "at", "string|string[]", "", "layers or stages (default: the stages without the first)" },
         { "folds", "integer", "5", "parts that are held out in turn" },
         { "fractions", "number[]", "{ 0.1, 0.3, 1 }", "parts of the photos to learn from; all of them come last in any case" },
         { "pool", "string", '"avg"', 'over the pixels of a map: "avg", "max", "avg+max" or "grid=K" for means over K x K' } },
      returns = { { "graft.probe", "the measurement" } },
      errors = { { "data", "a class has fewer than 2 photos, or photos have several labels" },
         { "option", "an option is out of range, or all is asked of something that is no data set",
            "graft.probe(net, d, { folds = 1 })" },
         { "name", "at names no layer", 'graft.probe(net, d, { at = "layr4" })' } },
      example = "print(graft.probe(net, d, { folds = 3 }).best ~= nil)  --> true",
      see = { "graft.advise", "graft probe", "graft.embed" },
   },
   { name = "p.best", type = "string", text = "The depth with the highest accuracy on all photos; of equals the deepest.",
      example = "print(p.best == p.depths[#p.depths].layer or p.best ~= nil)  --> true" },
   { name = "p.depths", type = "table[]", text = "The depths from the photo to the output, each with its accuracy on all photos.",
      fields = depth, example = "for _, depth in ipairs(p.depths) do print(depth.layer, depth.accuracy) end" },
   { name = "p.curve", type = "table[]", text = "Accuracy of each depth with each part of the photos.",
      fields = { { "fraction", "number", "part of the photos that a classifier could learn from" },
         { "layer", "string", "the depth" }, { "accuracy", "number", "on photos held out" } },
      example = "print(p.curve[1].fraction)  --> 0.1" },
   { name = "p.classes", type = "string[]", text = "The classes of the data.", example = "print(#p.classes)  --> 2" },
   { name = "p.count", type = "integer", text = "The photos that were probed.", example = "print(p.count > 0)  --> true" },
   { name = "p.folds", type = "integer", text = "The parts that were held out in turn.", example = "print(p.folds)  --> 3" },
   { name = "p.pretraining", type = "table?", text = "What the classes say that the network was taught first: nil when its head "
      .. "is not the one that it came with.",
      fields = { { "classes", "integer", "how many they are" },
         { "agreement", "number", "share of the photos whose class can be told by the old class that the network names" },
         { "spread", "integer", "how many of them it named" } },
      example = "print(p.pretraining)  --> nil" },
   {
      name = "graft.advise",
      text = "Reads a probe: where the task stands and what to transfer. print(a) shows it in words. Depths are compared photo "
         .. "by photo, and what may be luck is called so; where the numbers do not decide, the action is \"unknown\".",
      arguments = { { "probe", "graft.probe", "required", "what graft.probe gave" } },
      returns = { { "graft.advice", "the advice" } },
      errors = { { "option", "it is no probe", "graft.advise{}" } },
      example = 'print(a.data)  --> little',
      see = { "graft.probe", "a:recipe", "a:apply" },
   },
   { name = "a.data", type = '"little"|"much"', text = "How much data there is for moving a whole network.",
      example = "print(a.data)  --> little" },
   { name = "a.similarity", type = '"similar"|"different"', text = "Whether the photos are like those of the pretraining, by "
      .. "where in the network the features fit best and by what its old classes say.", example = "print(a.similarity)" },
   { name = "a.action", type = '"head"|"fine_tune"|"cut"|"scratch"|"unknown"', text = "What to do: train the head only, "
      .. "fine-tune from a layer on, cut the network at a depth and put a head there, train it from scratch, or nothing yet.",
      example = "print(a.action)" },
   { name = "a.from", type = "string?", text = "The layer that the action is about: where fine-tuning begins, or where to cut.",
      example = "print(a.from)" },
   { name = "a.why", type = "string", text = "The reasons, with their numbers.", example = "print(a.why)" },
   { name = "a.confidence", type = '"high"|"medium"|"low"', text = "How far the numbers decide it.",
      example = "print(a.confidence)" },
   { name = "a:recipe", text = "The recipe that is recommended, to be written into a file and run.",
      returns = { { "string", "Lua" } }, example = 'print(a:recipe():find("graft.fit", 1, true) ~= nil)  --> true',
      see = { "graft probe" } },
   { name = "a:apply", text = "Makes a network ready for a fit as the advice says: head, freezing, and rates. For a cut the "
      .. "network returned is a new one.",
      arguments = { { "net", "graft.network", "required", "the network" }, { "data", "graft.data", "required", "the photos" } },
      returns = { { "graft.network", "the network to train" } },
      errors = { { "option", "it gets something else", "a:apply(net, 5)" } },
      example = "graft.fit(a:apply(net, d), d, { epochs = 2, optimizer = graft.adamw{ lr = 1e-3 } })", see = { "a:recipe" } },
} }
