-- The reference: what measuring and training return. What the fields of an entry mean says scripts/graft/reference.lua.

local prefix = { "prefix", '"float32"|"bf16"|"int8"', '"float32"', "how exactly the convolutions of the frozen part are "
   .. "computed" }

local row = {
   { "fit", "integer", "which fit of the recipe, from 1" },
   { "name", "string?", "the name that fit was given" },
   { "epoch", "integer", "from 1" },
   { "train_loss", "number", "mean over the epoch" },
   { "lr", "number", "rate at its beginning" },
   { "seconds", "number", "with validation" },
   { "val_loss", "number?", "nil without validation, as all that follow" },
   { "val_accuracy", "number?", "share of validation photos that are right; with several labels, of labels" },
   { "val_f1", "number?", "several labels: mean of the classes' F1" },
   { "val_map", "number?", "several labels: mean average precision" },
}

local topic = { name = "results", title = "Measuring, runs, results", text = [[
Looking never changes anything: measuring, embedding and planning leave the network and every random stream as they were.

Reading a field that does not exist raises, with the nearest name; a field that may be nil says so in its type.]] }

topic.entries = {
   {
      name = "graft.evaluate",
      text = "How well a network does on a set. With a data set instead of a set: on its validation photos.",
      arguments = { { "net", "graft.network", "required", "is left as it is" },
         { "set", "graft.set|graft.data", "required", "such as data.test" } },
      options = {
         { "batch_size", "integer", "32", "photos at a time" },
         { "loss", "graft.loss|graft.loss_function", "", "as in graft.fit" },
         { "progress", "fun(done: integer, total: integer)", "", "called after each batch with the photos done so far" },
         { "photos", "boolean", "false", "tell what was said of each photo: result.photos" },
         prefix,
      },
      returns = { { "graft.result", "see result.accuracy and its neighbours" } },
      errors = { { "name", "the classes of network and data have other names",
            'graft.evaluate(graft.models.resnet18{ classes = { "one", "two" }, size = 32 }, d.val)' },
         { "option", "an option is unknown or has a wrong value", "graft.evaluate(net, d.val, { batch = 8 })" } },
      example = "local result = graft.evaluate(net, d.val)\nprint(result.count, result.accuracy <= 1)  --> 4  true",
      see = { "result.accuracy", "graft.report", "graft eval" },
   },
   {
      name = "graft.embed",
      text = "Pooled features of photos at one layer: a row of numbers for each, alike for photos that look alike to the "
         .. "network.",
      arguments = { { "net", "graft.network", "required", "is left as it is" },
         { "set", "graft.set|string[]", "required", "a set, or a list of files" } },
      options = {
         { "at", "string", "", "layer or stage; without: the last stage, which the classifier reads" },
         { "pool", '"avg"|"max"', '"avg"', "how a map [C,H,W] becomes a row [C]" },
         { "normalize", "boolean", "false", "rows of length 1, so that matmul gives cosines" },
         { "batch_size", "integer", "32", "files at a time" },
         { prefix[1], prefix[2], prefix[3], prefix[4] .. "; of a set alone" },
      },
      returns = { { "graft.tensor", "[N,D]: one row a photo" }, { "graft.embedding_info", "whose rows these are" } },
      fields = { { "files", "string[]", "paths, in the order of the rows" },
         { "classes", "string[]", "their classes; empty for a list of files" } },
      errors = { { "name", "there is no such layer", 'graft.embed(net, d.val, { at = "layer9" })' },
         { "data", "there is no photo", "graft.embed(net, {})" } },
      example = 'local features, info = graft.embed(net, d.val, { normalize = true })\n'
         .. "print(#features == #info.files, info.classes[1])  --> true  ants",
      see = { "net:features", "x:topk", "graft embed" },
   },
   {
      name = "graft.plan",
      text = "Prints what graft.fit would do with the same arguments: layers, what is frozen, kept and cached, memory at the "
         .. "peak, and the time, from a few timed batches on a clone. Nothing is trained or written.",
      arguments = { { "net", "graft.network", "required", "is left as it is" }, { "data", "graft.data", "required", "as in fit" },
         { "options", "graft.fit.options", "", "those of graft.fit" } },
      errors = { { "option", "what graft.fit would refuse", "graft.plan(net, d, { epochs = 0 })" } },
      example = "graft.plan(net, d, { epochs = 5 })",
      see = { "graft plan", "graft.mode" },
   },
   {
      name = "graft.report",
      text = "Writes what a run or a result has to say. As a page when the name ends in .html: one file that needs nothing else "
         .. "and runs no script, with plots, the confusion matrix, calibration, and photos to look at. Otherwise as text, with "
         .. "the table of classes and the confusion matrix. graft.fit writes the page of a run by itself, as report.html in the "
         .. "run folder.",
      arguments = { { "subject", "graft.run|graft.result|graft.lr|graft.map|table", "required", "what graft.fit, "
         .. "graft.evaluate, graft.lr_find or graft.map returned; for photos on the page of a result, evaluate with photos = "
         .. "true. Or pictures of your own: { title = \"...\", pictures = { { title =, text =, image =, images = { { image =, "
         .. "caption = } }, columns = } } }" },
         { "path", "string", "required", "the file" } },
      errors = { { "option", "the subject is something else", 'graft.report({}, "a.txt")' },
         { "file", "it cannot be written", 'graft.report(result, "none/a.txt")' } },
      example = 'graft.report(run, graft.out("own.html"))',
      see = { "graft.out", "run.page", "result.photos", "graft eval" },
   },

   -- results
   { name = "result.accuracy", type = "number", text = "Share of photos whose most likely class is right, 0 to 1; with "
      .. "several labels, share of labels that are right at a probability of 0.5.", example = "print(result.accuracy <= 1)  "
      .. "--> true" },
   { name = "result.right", type = "integer", text = "How many are right.", example = "print(result.right <= result.count)  "
      .. "--> true" },
   { name = "result.count", type = "integer", text = "How many photos there were.", example = "print(result.count)  --> 4" },
   { name = "result.loss", type = "number", text = "Mean loss of the main classifier.", example = "print(result.loss > 0)  "
      .. "--> true" },
   { name = "result.top5", type = "number?", text = "Share of photos whose class is among the five most likely.",
      example = "print(result.top5 == 1)  --> true" },
   { name = "result.classes", type = "graft.class_result[]", text = "How each class fares.", fields = {
      { "name", "string", "of the class" },
      { "precision", "number", "of the photos that were called so, the share that is" },
      { "recall", "number", "of the photos that are, the share that was called so" },
      { "support", "integer", "photos of the class" },
      { "average_precision", "number?", "several labels only" } },
      example = "print(result.classes[1].name, result.classes[1].support)  --> ants  2" },
   { name = "result.confusion", type = "integer[][]", text = "Row i, column j: photos of class i that were called class j. "
      .. "Empty with several labels.", example = "print(#result.confusion)  --> 2", see = { "graft.report" } },
   { name = "result.heads", type = "graft.head_result[]?", text = "Each classifier, the main one (\"head\") first, then the "
      .. "auxiliary ones in network order.", fields = { { "layer", "string", "that it reads" },
      { "accuracy", "number", "0 to 1" }, { "loss", "number", "mean over the photos" } },
      example = "print(result.heads[1].layer)  --> head", see = { "net:add_aux" } },
   { name = "result.calibration", type = "graft.calibration", text = "Whether probabilities are what they say: of a hundred "
      .. "photos that a network is 80 % sure of, eighty should be right. Photos are sorted by the probability of the class that "
      .. "was said into 15 steps of equal width (Naeini and others 2015, Guo and others 2017); with several labels, each label "
      .. "of each photo by its probability.", fields = {
      { "error", "number", "the expected calibration error: mean distance between how sure and how often right, 0 to 1" },
      { "bins", "table[]", "for each step {low=, high=, count=, confidence=, accuracy=}: its bounds, how many lie in it, their "
         .. "mean probability and the share that is right; both nil where none lies in it" } },
      example = "print(#result.calibration.bins, result.calibration.error <= 1)  --> 15  true",
      see = { "graft.report" } },
   { name = "result.photos", type = "graft.photo_result[]?", text = "What was said of each photo, in the order of the set; nil "
      .. "unless graft.evaluate was asked for it by photos = true.", fields = {
      { "file", "string", "its path" },
      { "class", "string", "what it is; several labels: the label whose probability is furthest from the truth" },
      { "p", "number", "probability given to that class" },
      { "said", "string?", "the most likely class; nil with several labels, as p_said" },
      { "p_said", "number?", "its probability" },
      { "margin", "number", "how much more likely that is than the second class; several labels: twice the distance from 0.5 of "
         .. "the probability that is nearest to it. The smaller, the less sure" },
      { "given", "boolean?", "several labels: whether the photo has that label" },
      { "wrong", "integer?", "several labels: how many labels are wrong" } },
      example = "for _, photo in ipairs(graft.evaluate(net, d.val, { photos = true }).photos) do\n"
         .. "   if photo.said ~= photo.class then print(photo.file, photo.class, photo.said, photo.p_said) end\nend",
      see = { "graft.report" } },
   { name = "result.f1", type = "number?", text = "Several labels: mean of the classes' F1.",
      example = 'local several = graft.data.csv("tags.csv", { image = "file", labels = "tags", val = 0.25 })\n'
         .. 'local net = graft.load("resnet18.safetensors"):replace_head(several)\n'
         .. "print(graft.fit(net, several, { epochs = 1 }).evaluation.f1 <= 1)  --> true", see = { "graft.data.csv" } },
   { name = "result.map", type = "number?", text = "Several labels: mean of the average precisions of the classes that occur.",
      example = 'local several = graft.data.csv("tags.csv", { image = "file", labels = "tags", val = 0.25 })\n'
         .. 'local net = graft.load("resnet18.safetensors"):replace_head(several)\n'
         .. 'print(graft.fit(net, several, { epochs = 1, monitor = "val_map" }).evaluation.map <= 1)  --> true',
      see = { "graft.data.csv", "graft.fit" } },

   -- runs
   { name = "run.epochs", type = "graft.row[]", text = "A row for each epoch, as in metrics.csv. With auxiliary classifiers a "
      .. 'row also has ["train_loss:LAYER"], ["val_loss:LAYER"] and ["val_accuracy:LAYER"].', fields = row,
      example = "for _, row in ipairs(run.epochs) do print(row.epoch, row.train_loss, row.val_accuracy) end" },
   { name = "run.best", type = "table?", text = "The best epoch by the monitored number, the first of equals; nil without "
      .. "validation.", fields = { { "epoch", "integer", "which" }, { "val_accuracy", "number", "of it" },
      { "val_loss", "number", "of it" }, { "val_f1", "number?", "several labels" }, { "val_map", "number?", "several labels" } },
      errors = { { "name", "a field has another name", "return run.best.val_acuracy" } },
      example = "print(run.best.epoch >= 1)  --> true" },
   { name = "run.last", type = "graft.row?", text = "The row of the last epoch.", fields = row,
      example = "print(run.last.epoch)  --> 3" },
   { name = "run.epochs_done", type = "integer", text = "Epochs that were made.", example = "print(run.epochs_done)  --> 3" },
   { name = "run.epochs_wanted", type = "integer", text = "Epochs that were asked for.", example = "print(run.epochs_wanted)  "
      .. "--> 3" },
   { name = "run.stopped", type = '"done"|"patience"|"on_epoch"|"interrupt"', text = "Why it ended.",
      example = "print(run.stopped)  --> done" },
   { name = "run.kept", type = '"best"|"last"|nil', text = "Which weights the network holds now; nil when no epoch came to its "
      .. "end.", example = "print(run.kept)  --> best" },
   { name = "run.out", type = "string", text = "The run folder.", example = "print(run.out)", see = { "graft.out" } },
   { name = "run.page", type = "string?", text = "The page of the run, report.html in its folder: what was trained, curves, "
      .. "mistakes, calibration, time and memory, and how to make it again, for all fits of the recipe so far. nil where it "
      .. "could not be written.", example = "print(run.page == run.out .. '/report.html')  --> true", see = { "graft.report" } },
   { name = "run.name", type = "string?", text = "The name that fit was given.",
      example = 'print(graft.fit(net, d, { epochs = 1, name = "head" }).name)  --> head' },
   { name = "run.monitor", type = "string", text = "What the best epoch was chosen by.", example = "print(run.monitor)  --> "
      .. "val_accuracy" },
   { name = "run.evaluation", type = "graft.result?", text = "The validation set, measured with the weights that are kept.",
      example = "print(run.evaluation.count)  --> 4" },
   { name = "run.heads", type = "graft.head_result[]", text = "Accuracy of the auxiliary classifiers, in network order.",
      fields = { { "layer", "string", "that it reads" }, { "accuracy", "number", "0 to 1" } }, example = "print(#run.heads)  "
         .. "--> 0" },
   { name = "run.cache", type = "table", text = "What was kept of the frozen part.", fields = {
      { "mode", "string", '"once", "pool:K", "validation" or "none"' },
      { "layers", "string[]", "whose output was kept" },
      { "bytes", "integer", "of it" },
      { "hits", "integer", "photos that were served from it" },
      { "where", '"memory"|"file"|"nowhere"', "where it was" } },
      example = "print(run.cache.mode, run.cache.where)  --> once  memory", see = { "cache" } },
   { name = "run.exact", type = "boolean", text = "Only exact kernels were used.", example = "print(run.exact)  --> false",
      see = { "net:exact" } },
   { name = "run.stash", type = '"none"|"bf16"', text = "How activations waited for the backward pass.",
      example = "print(run.stash)  --> none" },
   { name = "run.stashed", type = "integer?", text = 'With stash = "bf16": how many activations were kept so. 0 without '
      .. "a stash, and where it would have saved no memory, as in shallow networks.",
      example = "print(run.stashed)  --> 0" },
   { name = "run.prefix", type = '"float32"|"bf16"|"int8"', text = "How exactly the convolutions of the frozen part were "
      .. "computed.",
      example = "print(run.prefix)  --> float32", see = { "run.float32" } },
   { name = "run.float32", type = "table?", text = "The validation set with everything in float32, as the saved model runs; "
      .. "nil when the run was float32 itself.", fields = { { "accuracy", "number", "0 to 1" }, { "loss", "number", "mean" },
      { "right", "integer", "photos" }, { "count", "integer", "photos" } },
      example = 'print(graft.fit(net, d, { epochs = 1, prefix = "bf16" }).float32.count)  --> 4' },
   { name = "run.frozen_digest_before", type = "string", text = "SHA-256 of all frozen tensors at the start.",
      example = "print(run.frozen_digest_before == run.frozen_digest_after)  --> true" },
   { name = "run.frozen_digest_after", type = "string", text = "SHA-256 of all frozen tensors at the end. Were it another "
      .. "than before, fit would have raised.", example = "print(run.frozen_digest_before == run.frozen_digest_after)  --> "
      .. "true" },
   { name = "run.frozen_tensors", type = "integer", text = "How many tensors were frozen, statistics included.",
      example = "print(run.frozen_tensors > 0)  --> true" },
   { name = "run.digest", type = "string", text = "SHA-256 of the network as it is kept.", example = "print(#run.digest)  --> 64",
      see = { "net:digest" } },
   { name = "run.skipped", type = "graft.skipped[]", text = "Photos that could not be read.", example = "print(#run.skipped)  "
      .. "--> 0",
      see = { "data.skipped" } },
   { name = "run.seconds", type = "number", text = "Seconds of all its epochs.", example = "print(run.seconds > 0)  --> true" },
   { name = "run.peak_memory", type = "integer", text = "The most bytes that Graft had allocated.",
      example = "print(run.peak_memory > 0)  --> true" },
   { name = "run.together", type = "table?", text = "In a recipe with several fits: what this one and those before it "
      .. "took; nil for the first, and outside of recipes.",
      fields = { { "fits", "integer", "how many" }, { "seconds", "number", "of all" },
      { "peak_memory", "integer", "bytes, the most of any" } }, example = "print(run.together)  --> nil" },
   { name = "run.process_memory", type = "integer?", text = "The most bytes that the process held; nil where the system does "
      .. "not say.", example = "print(run.process_memory)" },
   { name = "run.seed", type = "integer", text = "The seed of its random streams.", example = "print(run.seed)" },
   { name = "run.threads", type = "integer", text = "Threads that it used.", example = "print(run.threads >= 1)  --> true" },
   { name = "run.state", type = "table", text = "An empty table for a recipe's own notes on this run.",
      example = 'run.state.note = "first try"' },
}

return topic
