-- Fine-tune in two phases: the new classifier alone, then everything, pretrained layers at one tenth of the rate.
--
--    graft run fine_tune --data photos/ --weights efficientnet_lite0.pth
--
-- For more data, or data unlike the pretraining. At the full rate the pretrained layers would jump out of the optimum
-- that they are in.
--
-- On ants and bees (244 photos, 153 to check with) and EfficientNet-Lite0 it prints, besides the progress (so few photos gain
-- nothing over head_only):
--
--    accuracy  0.948 on photos it never trained on (145 of 153; 95 % interval 0.90-0.97); always saying "bees": 0.54
--    mistakes  bees taken for ants 5, ants taken for bees 3
--    spent     1 min 26 s, 1.0 GiB (the whole process 1.0 GiB)
--    kept      runs/fine_tune-1/best.safetensors (epoch 1 of 12, chosen on those 153 photos)
--    next      graft predict runs/fine_tune-1/best.safetensors PHOTO

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   head_epochs = { type = "integer", default = 3, min = 1, help = "epochs of the classifier alone" },
   epochs = { type = "integer", default = 12, min = 1, help = "epochs of all layers" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 0.01, help = "learning rate of the head" },
   bn = { type = "choice", choices = { "fixed", "train" }, default = "fixed",
      help = "batch norm statistics: of the pretraining, or learnt anew (many photos)" },
   augment = { type = "choice", choices = { "none", "light", "standard" }, default = "none",
      help = "random crops and flips in the second phase" },
}

local d = graft.data.folder(opt.data)
local batch_size = math.min(opt.batch_size, #d.train)
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }

graft.fit(net, d, { name = "head", epochs = opt.head_epochs, batch_size = batch_size, optimizer = sgd })

net:unfreeze { "body", bn = opt.bn }:lr_scale { { "*", 1 / 10 }, { "head", 1 } }

print(graft.fit(net, d, {
   name = "all",
   epochs = opt.epochs,
   batch_size = batch_size,
   augment = opt.augment,
   clip = 1, -- some pretrained networks scale a layer's output a hundredfold
   optimizer = sgd,
   schedule = graft.one_cycle { warmup = 0.3 },
}))
