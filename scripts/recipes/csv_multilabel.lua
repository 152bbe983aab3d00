-- Several labels a photo, from a CSV table; tells how well each label is found.
--
--    graft run csv_multilabel --csv photos.csv --weights efficientnet_lite0.pth
--
-- The table has a header line; photos are named relative to it, labels are separated by "|":
--
--    file,tags
--    walks/IMG_1.jpg,dog|outdoors
--    walks/IMG_2.jpg,outdoors
--
-- Each label is a question of its own: the loss is binary cross entropy, the probabilities are sigmoids and do not add up to 1.
-- The epoch that is kept is the best by mean average precision, which does not depend on where the line between yes and no is
-- drawn; the table at the end draws it at 0.5. Of all times a label was given, precision is the share that was right; of all
-- photos that have it, recall is the share that was found.
--
-- On 697 photos of ants, bees, cats and dogs, each with its name and "insect" or "mammal", and EfficientNet-Lite0 it prints,
-- besides the progress:
--
--    accuracy  0.994 of all labels right, mAP 0.999 (139 photos it never trained on)
--    frozen    294 tensors exactly as before (sha256 ef8f..09 before and after)
--    spent     6.7 s, 70 MiB (the whole process 91 MiB); the cache saved 9 passes over the frozen part
--    kept      runs/csv_multilabel-1/best.safetensors (epoch 10 of 10, chosen on those 139 photos)
--    next      graft predict runs/csv_multilabel-1/best.safetensors PHOTO
--
--    label            photos  precision  recall
--    ant                  43      0.977   0.977
--    bee                  41      1.000   0.976
--    cat                  30      1.000   0.967
--    dog                  25      0.962   1.000
--    insect               84      1.000   1.000
--    mammal               55      1.000   1.000
--
--    0013035.jpg has ant, insect
--      insect           1.00
--      ant              0.97
--      bee              0.05
--      dog              0.00
--      mammal           0.00

local graft = require "graft"

local opt = graft.options {
   csv = { type = "file", help = "table of photos and labels" },
   weights = { type = "file", help = "pretrained weights" },
   image = { type = "string", default = "file", help = "column with the photos' files" },
   labels = { type = "string", default = "tags", help = "column with the labels" },
   separator = { type = "string", default = "|", help = "what stands between labels" },
   val = { type = "number", default = 0.2, min = 0.01, max = 0.9, help = "share of the photos held out" },
   epochs = { type = "integer", default = 10, min = 1, help = "epochs" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 1e-3, help = "learning rate" },
}

local d = graft.data.csv(opt.csv, { image = opt.image, labels = opt.labels, separator = opt.separator, val = opt.val })
local net = graft.load(opt.weights):replace_head(d):freeze("body")

print(graft.fit(net, d, {
   epochs = opt.epochs,
   batch_size = math.min(opt.batch_size, #d.train),
   optimizer = graft.adamw { lr = opt.lr },
   monitor = "val_map",
}))

-- net now holds the best epoch. One row a label.
local result = graft.evaluate(net, d.val)
print("\nlabel            photos  precision  recall")
for _, label in ipairs(result.classes) do
   print(("%-16s %6d      %.3f   %.3f"):format(label.name, label.support, label.precision, label.recall))
end

-- One photo, as graft predict shows it.
local photo = d.val[1]
print(("\n%s has %s"):format(photo.file:match("[^/]+$"), table.concat(photo.classes, ", ")))
for _, answer in ipairs(net:predict(photo.file)) do
   print(("  %-16s %.2f"):format(answer.class, answer.p))
end
