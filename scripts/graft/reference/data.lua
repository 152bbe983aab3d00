-- The reference: data sets, batches and augmentation. What the fields of an entry mean says scripts/graft/reference.lua.

local descriptions = require "graft.descriptions"

local common = {
   { "val", "number", "", "share of each class to hold out for validation, 0 to 0.9, chosen by the photos' content; without: "
      .. "0.2, unless a set for validation is there. 0: none" },
   { "classes", "graft.class_source", "", "the classes in an order of one's own, or some of them; without: all, in the order "
      .. "of their bytes" },
   { "size", "integer", "", "pixels of the input's sides; it overrides the network's and is written into its model file" },
   { "on_bad", '"skip"|"error"', '"skip"', "what to do with a photo that cannot be read" },
   { "max_skip", "number", "0.05", "share of unreadable photos above which loading is refused, 0 to 1" },
}

local function with_common(options)
   table.move(common, 1, #common, #options + 1, options)
   return options
end

local returns = { { "graft.data", "photos are listed and checked, not yet decoded" } }
local bad = { "data", "too few photos or classes, an empty class, too many unreadable photos" }
local take = {
   { "per_class", "integer", "required", "photos of each class, at least 1; a class with fewer keeps all" },
   { "seed", "integer", "", "of the draw; without: graft.seed's" },
}

local topic = { name = "data", title = "Data sets, batches, augmentation", text = [[
A data set holds photos with their classes in three sets: train, val and test. Classes are names everywhere; what a network
and a data set call by the same name is the same class, whatever the order. Photos are JPEG and PNG; everything else is
listed in data.skipped with the reason.

Augmentation belongs to graft.fit and to set:batches, not to the data set.]] }

topic.entries = {
   { name = "graft.data", type = "table", text = "Where data sets come from: folder, csv, idx, list.",
      see = { "graft.data.folder", "graft.data.csv", "graft.data.idx", "graft.data.list" } },
   {
      name = "graft.data.folder",
      text = "Photos in folders, one folder a class. Either the folder holds the classes, and a share of each is held out for "
         .. "validation, or it holds train/ and val/ (or valid/, validation/), and perhaps test/, with the classes in them.\n\n"
         .. "Names that begin with a dot are ignored, folders inside a class are walked, links that lead out are skipped. "
            .. "test/ is never trained on. Held out are the photos with the lowest digests, so the split does not depend on "
            .. "file names, and copies of one photo stay together.",
      arguments = { { "path", "string", "required", "the folder" } },
      options = with_common {},
      returns = returns,
      errors = { { "file", "there is no such folder", 'graft.data.folder("none")' },
         { bad[1], bad[2], 'graft.data.folder("photos/ants")' },
         { "name", "a class that classes names is not there", 'graft.data.folder("photos", { classes = { "ants", "wasps" } })' },
         { "option", "an option is unknown or has a wrong value", 'graft.data.folder("photos", { val = 2 })' } },
      example = 'local d = graft.data.folder("photos", { val = 0.25 })\nprint(#d.train, #d.val, d.counts.ants)  --> 12  4  8',
      see = { "graft.data.csv", "data.skipped", "graft inspect" },
   },
   {
      name = "graft.data.csv",
      text = "Photos listed in a CSV file with a header line (RFC 4180). Paths are relative to the file.\n\n"
         .. "With labels each photo has several: the loss is then binary cross entropy, probabilities are sigmoids, and "
            .. "results hold f1 and map.",
      arguments = { { "path", "string", "required", "the file" } },
      options = with_common {
         { "image", "string", "required", "column of the photos' paths" },
         { "label", "string", "", "column of one class a photo" },
         { "labels", "string|string[]", "", "column of several classes, or a list of columns with 0 or 1, one a class" },
         { "separator", "string", '"|"', "between several classes in one column" },
         { "split", "string", "", "column that says train, val or test; without: by val" },
      },
      options_required = true,
      returns = returns,
      errors = { { "file", "it cannot be read", 'graft.data.csv("none.csv", { image = "file", label = "tags" })' },
         { "name", "it has no such column", 'graft.data.csv("tags.csv", { image = "photo", labels = "tags" })' },
         { "option", "no column is named for images or labels", 'graft.data.csv("tags.csv", { image = "file" })' }, bad },
      example = 'local d = graft.data.csv("tags.csv", { image = "file", labels = "tags", separator = "|", val = 0.25 })\n'
         .. 'print(table.concat(d.classes, " "))  --> matt red',
      see = { "graft.data.folder", "result.map" },
   },
   {
      name = "graft.data.idx",
      text = "The IDX files of MNIST and its relatives, plain or .gz. The train files become train and val, those that begin "
         .. "with t10k become test. Photos are grey and stay in memory.",
      arguments = { { "path", "string", "required", "folder with train-images-idx3-ubyte, train-labels-idx1-ubyte ..." } },
      options = with_common { { "names", "string[]", "", 'of the labels 0, 1, ...; without: "0", "1", ...' } },
      returns = returns,
      errors = { { "file", "the files are missing, cut off, or of another kind", 'graft.data.idx("photos")' },
         { "option", "names has another length than the labels need" } },
      example = 'local d = graft.data.idx("digits", { names = { "zero", "one" }, val = 0.25 })\nprint(d.classes[2])  --> one',
      see = { "graft.data.folder" },
   },
   {
      name = "graft.data.list",
      text = "Photos that Lua has listed.",
      arguments = { { "samples", "{ image: string, class: string }[]", "required", "a table {image = path, class = name} "
         .. "each" } },
      options = with_common {},
      returns = returns,
      errors = { { "option", "an entry lacks image or class", "graft.data.list{ {} }" }, bad },
      example = 'local list = {}\nfor i = 1, 8 do\n  list[2 * i - 1] = { image = ("photos/ants/%d.jpg"):format(i), class = '
         .. '"ants" }\n'
         .. '  list[2 * i] = { image = ("photos/bees/%d.jpg"):format(i), class = "bees" }\nend\n'
         .. "print(#graft.data.list(list, { val = 0.25 }).train)  --> 12",
      see = { "graft.data.folder" },
   },

   -- data sets
   { name = "data.classes", type = "string[]", text = "Names of the classes. Wherever classes are asked for, the data set "
      .. "itself will do.", example = "print(d.classes[1])  --> ants", see = { "net:replace_head" } },
   { name = "data.counts", type = "table<string, integer>", text = "Photos of each class, in all sets together.",
      errors = { { "name", "there is no such class", "return d.counts.wasps" } }, example = "print(d.counts.bees)  --> 8" },
   { name = "data.skipped", type = "graft.skipped[]", text = "What was left out, and why.",
      fields = { { "file", "string", "beneath the folder" }, { "reason", "string", "in words, such as \"ends early\"" } },
      example = "for _, skipped in ipairs(d.skipped) do print(skipped.file, skipped.reason) end", see = { "graft inspect" } },
   { name = "data.train", type = "graft.set", text = "The set to train on.", example = "print(#d.train)  --> 12",
      see = { "set:batches" } },
   { name = "data.val", type = "graft.set", text = "The set that validates each epoch and chooses the best one; empty when "
      .. "there is none.", example = "print(#d.val)  --> 4", see = { "graft.fit" } },
   { name = "data.test", type = "graft.set", text = "The test set. It is never trained on and chooses nothing; empty when "
      .. "there is none.", example = "print(#d.test)  --> 0", see = { "graft.evaluate" } },
   {
      name = "data:take",
      text = "The same data with fewer photos to train on; val and test stay.",
      options = take,
      returns = { { "graft.data", "a new one" } },
      errors = { { "option", "per_class is missing or below 1", "d:take{}" },
         { "data", "the photos have several labels" } },
      example = "print(#d:take{ per_class = 3 }.train)  --> 6",
      see = { "set:take" },
   },

   -- sets
   {
      name = "set:take",
      text = "Some photos of each class, as a set.",
      options = take,
      returns = { { "graft.set", "in the order of the set" } },
      errors = { { "option", "per_class is missing or below 1", "d.train:take{ per_class = 0 }" },
         { "data", "the photos have several labels" } },
      example = "print(#d.train:take{ per_class = 2, seed = 7 })  --> 4",
      see = { "data:take" },
   },
   {
      name = "set:batches",
      text = "Goes through a set in batches: for x, y, b in set:batches{...} do ... end. Photos are decoded by other threads, "
         .. "ahead of the loop; break ends that too.\n\nx is [N,C,H,W]. y is [N,K] with columns in the order of data.classes: "
         .. "one-hot, soft after mixup, 0 and 1 with several labels. What is drawn depends on graft.seed, the epoch and the "
         .. "photo alone, so a loop can be repeated.",
      options = {
         { "net", "graft.network", "", "x is preprocessed as this network wants it; without: 224 x 224 RGB from 0 to 1" },
         { "batch_size", "integer", "32", "photos in a batch" },
         { "shuffle", "boolean", "false", "another order in each epoch" },
         { "epoch", "integer", "1", "of the order and of the augmentation" },
         { "augment", '"none"|"light"|"standard"|graft.augmentation[]', '"none"', "see augment" },
         { "drop_last", "boolean", "false", "leaves out a last batch that is not full" },
         { "size", "integer", "", "pixels of the sides; overrides the data's and the network's" },
      },
      returns = { { "fun(): graft.tensor, graft.tensor, graft.batch", "photos, targets, the batch" } },
      errors = { { "option", "an option is unknown or has a wrong value", "d.train:batches{ batch = 32 }" },
         { "data", "too many photos turn out to be broken" } },
      example = "for x, y, b in d.train:batches{ net = net, batch_size = 4, shuffle = true, epoch = 2 } do\n"
         .. '  assert(#x == #b.files and y.shape[2] == #d.classes)\nend',
      see = { "augment", "graft.trainer", "b:input" },
   },
   { name = "#set", operator = { "len", "", "integer" }, text = "How many photos are in the set.", example = "print(#d.val)  "
      .. "--> 4" },
   {
      name = "set[i]", operator = { "index", "[integer]", "graft.sample" },
      text = "One photo of the set, counted from 1; nil behind the last, so ipairs works.",
      fields = {
         { "file", "string", "path, as a person may open it" },
         { "class", "string?", "its class; nil with several labels" },
         { "classes", "string[]?", "its classes; nil with one label" },
      },
      example = "local photo = d.train[1]\nprint(photo.class, photo.file)",
   },

   -- batches
   { name = "b.files", type = "string[]", text = "Paths of the batch's photos, in the order of x.",
      example = "for x, y, b in d.train:batches{ net = net } do assert(#b.files == #x) end" },
   { name = "b.classes", type = "string[]", text = "Names of the classes: of the columns of y.",
      example = "for x, y, b in d.train:batches{ net = net } do assert(b.classes[1]) end" },
   { name = "b.epoch", type = "integer", text = "The epoch that the batch belongs to.",
      example = "for x, y, b in d.train:batches{ net = net, epoch = 3 } do assert(b.epoch == 3) end" },
   {
      name = "b:input",
      text = "The same photos with the same crops as another network wants them: for a teacher and a student in one loop. "
         .. "Only while the batch is the present one of its loop.",
      arguments = { { "net", "graft.network", "required", "the other network" } },
      returns = { { "graft.tensor", "[N,C,H,W]" } },
      errors = { { "option", "it is no network, or the loop has gone on",
         "local kept\nfor x, y, b in d.train:batches{ net = net } do kept = b end\nkept:input(net)" } },
      example = "local teacher = net:clone()\nfor x, y, b in d.train:batches{ net = net } do\n  local t = "
         .. "teacher(b:input(teacher))\nend",
      see = { "set:batches" },
   },
}

-- --- augmentation: names, types and defaults are those of graft.descriptions ---

local function augmentation(name, text, texts, errors, example)
   table.insert(topic.entries, { name = "graft.augment." .. name, text = text, options = descriptions.options(name, texts),
      returns = { { "graft.augmentation", "a plain value for augment = {...}" } }, errors = errors, example = example,
      see = { "augment" } })
end

table.insert(topic.entries, {
   name = "graft.augment", type = "table<string, fun(options?: table): graft.augmentation>",
   text = 'Changes of photos by chance, for the option augment of graft.fit and set:batches: "none", "light" (crops of 50 to '
      .. '100 % of the area, mirroring), "standard" (crops of 8 to 100 %, mirroring), or a list of these values.\n\n'
      .. "The order is fixed: crop, mirror, rotation, colours, erasing, then mixup over the batch. What happens to a photo "
         .. "depends on seed, epoch and photo alone.",
   errors = { { "option", "a preset has another name", 'graft.fit(net, d, { augment = "hard" })' } },
   example = "graft.fit(net, d, { epochs = 2, augment = { graft.augment.hflip{}, graft.augment.rotation{ degrees = 15 } } })",
   see = { "graft.fit", "set:batches" },
})
augmentation("hflip", "Mirrors left and right.", { p = "probability, 0 to 1" }, { { "option", "p is outside of 0 to 1",
   "graft.fit(net, d, { augment = { graft.augment.hflip{ p = 2 } } })" } }, "local mirror = graft.augment.hflip{ p = 0.5 }")
augmentation("random_resized_crop", "A random part of the photo, resized to the network's input.", {
   scale = "{low, high}: share of the photo's area, above 0 to 1", ratio = "{low, high}: width by height" },
   { { "option", "a range is empty or out of bounds",
      "graft.fit(net, d, { augment = { graft.augment.random_resized_crop{ scale = { 2, 3 } } } })" } },
   "local crop = graft.augment.random_resized_crop{ scale = { 0.5, 1 } }")
augmentation("color_jitter", "Changes colours a little.", {
   brightness = "the factor lies in 1-x to 1+x", contrast = "the same", saturation = "the same",
   hue = "turn of the colour circle either way, 0 to 0.5 circles" },
   { { "option", "a value is out of its range", "graft.fit(net, d, { augment = { graft.augment.color_jitter{ hue = 2 } } })" } },
   "local colours = graft.augment.color_jitter{ brightness = 0.3 }")
augmentation("rotation", "Turns the photo; corners get the mean colour.", { degrees = "at most so many, either way" },
   { { "option", "degrees is out of its range", "graft.fit(net, d, { augment = { graft.augment.rotation{ degrees = -1 } } })" } },
   "local turned = graft.augment.rotation{ degrees = 15 }")
augmentation("random_erasing", "Fills a rectangle of 2 to 33 % of the area with the mean colour.", { p = "probability, 0 to 1" },
   { { "option", "p is outside of 0 to 1", "graft.fit(net, d, { augment = { graft.augment.random_erasing{ p = 2 } } })" } },
   "local erased = graft.augment.random_erasing{ p = 0.25 }")
augmentation("mixup", "Blends pairs of photos of a batch, and their targets alike (Zhang et al. 2018).", {
   alpha = "of the Beta distribution of the blend; the larger, the more even" },
   { { "option", "alpha is out of its range", "graft.fit(net, d, { augment = { graft.augment.mixup{ alpha = -1 } } })" } },
   "local blended = graft.augment.mixup{ alpha = 0.2 }")

return topic
