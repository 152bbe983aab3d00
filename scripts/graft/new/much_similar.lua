local graft = require "graft"

-- What the command line may say: graft run RECIPE --help lists it. A value here is the default.
local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   head_epochs = { type = "integer", default = 3, min = 1, help = "epochs of the new classifier alone" },
   epochs = { type = "integer", default = 10, min = 1, help = "epochs of the top stages" },
   stages = { type = "integer", default = 2, min = 1, help = "stages from the top that learn" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 0.01, help = "learning rate of the classifier; the stages learn at a tenth of it" },
}

-- train/ and val/, or one folder a class: then 20 % of each class is held out to check with.
local d = graft.data.folder(opt.data)
local batch_size = math.min(opt.batch_size, #d.train)
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }

-- First the new classifier alone: it is random, and its large gradients would spoil what lies below.
local net = graft.load(opt.weights):replace_head(d):freeze("body")
graft.fit(net, d, { name = "head", epochs = opt.head_epochs, batch_size = batch_size, optimizer = sgd })

-- Then the top stages with it, at a tenth of the rate. The statistics of batch norm stay those of the pretraining; with
-- hundreds of photos a class and batches of 32, bn = "train" may do better.
for i = #net.stages, math.max(1, #net.stages - opt.stages + 1), -1 do
   net:unfreeze { net.stages[i], bn = "fixed" }
end
net:lr_scale { { "*", 1 / 10 }, { "head", 1 } }

print(graft.fit(net, d, {
   name = "top",
   epochs = opt.epochs,
   batch_size = batch_size,
   augment = "light", -- random crops and flips
   clip = 1, -- no step is longer than that
   optimizer = sgd,
   schedule = graft.one_cycle { warmup = 0.3 },
}))

-- What to try next:
--   more stages          graft run RECIPE --stages 4
--   the rates by depth   graft run discriminative_rates --help
