-- How models/fashion_six.safetensors was made: a small network trained from scratch on six of Fashion-MNIST's classes.
--
--    graft run train_fashion --out runs/fashion_six
--    graft run train_fashion --model fashion_gn --out runs/fashion_six_gn      the same with group norms
--
-- Debian's package dataset-fashion-mnist has the pictures. The demo transfers the result to the other four classes.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", default = "/usr/share/datasets/fashion-mnist", help = "folder with the IDX files" },
   model = { type = "choice", choices = { "fashion", "fashion_gn" }, default = "fashion", help = "with batch or group norms" },
   epochs = { type = "integer", default = 8, min = 1, help = "epochs" },
   batch_size = { type = "integer", default = 64, min = 1, help = "pictures in a step" },
   lr = { type = "number", default = 0.1, help = "learning rate" },
}

local names = { "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot" }

local d = graft.data.idx(opt.data, { names = names, val = 0.1,
   classes = { "T-shirt", "trouser", "pullover", "dress", "sneaker", "bag" } })
local net = graft.models[opt.model] { classes = d.classes }

local run = graft.fit(net, d, {
   epochs = opt.epochs,
   batch_size = opt.batch_size,
   augment = { graft.augment.hflip {} },
   optimizer = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 5e-4 },
   schedule = graft.one_cycle { warmup = 0.2 },
})
print(run)
print(("test accuracy on these six classes: %.3f"):format(graft.evaluate(net, d.test).accuracy))
