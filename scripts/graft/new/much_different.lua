local graft = require "graft"

-- What the command line may say: graft run RECIPE --help lists it. A value here is the default.
local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   scratch = { type = "boolean", default = false, help = "start from random weights: what did the pretraining bring?" },
   head_epochs = { type = "integer", default = 2, min = 1, help = "epochs of the new classifier alone" },
   epochs = { type = "integer", default = 15, min = 1, help = "epochs of all layers" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 0.01, help = "learning rate of the classifier; pretrained layers learn at a tenth of it" },
}

-- train/ and val/, or one folder a class: then 20 % of each class is held out to check with.
local d = graft.data.folder(opt.data)
local batch_size = math.min(opt.batch_size, #d.train)
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }
local net = graft.load(opt.weights):replace_head(d)

if opt.scratch then
   net:reinit("*") -- the same network, having seen nothing; it wants many more epochs
else
   -- The new classifier alone first: it is random, and its large gradients would spoil what lies below.
   net:freeze("body")
   graft.fit(net, d, { name = "head", epochs = opt.head_epochs, batch_size = batch_size, optimizer = sgd })
   -- Then everything. At the full rate the pretrained layers would jump out of the optimum that they are in.
   net:unfreeze("body"):lr_scale { { "*", 1 / 10 }, { "head", 1 } }
end

print(graft.fit(net, d, {
   name = "all",
   epochs = opt.epochs,
   batch_size = batch_size,
   augment = "standard", -- random crops and flips
   clip = 1, -- no step is longer than that
   optimizer = sgd,
   schedule = graft.one_cycle { warmup = 0.3 },
}))

-- What to try next:
--   is ImageNet worth it?   graft run RECIPE --scratch --epochs 60, and compare
--   half the memory         stash = "bf16" in graft.fit{...}
