local graft = require "graft"

-- What the command line may say: graft run RECIPE --help lists it. A value here is the default.
local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   epochs = { type = "integer", default = 20, min = 1, help = "passes over the photos" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 0.01, help = "learning rate of the new classifier" },
}

-- train/ and val/, or one folder a class: then 20 % of each class is held out to check with.
local d = graft.data.folder(opt.data)

-- The old classifier goes, a new one for your classes comes. The rest is frozen: it runs once over the photos, its output is
-- kept, and the epochs after that take moments.
local net = graft.load(opt.weights):replace_head(d):freeze("body")

-- Afterwards net is the best epoch on the photos that it never trained on.
local run = graft.fit(net, d, {
   epochs = opt.epochs,
   batch_size = math.min(opt.batch_size, #d.train),
   optimizer = graft.sgd { lr = opt.lr, momentum = 0.9 },
   -- augment = "light", -- random crops and flips: more variety, and nothing can be kept (see graft help cache)
})
print(run)

-- What to try next:
--   too few photos?      weight_decay = 1e-3 in graft.sgd{...} holds the classifier back
--   epochs still gain?   graft run RECIPE --epochs 40
--   not good enough?     net:unfreeze(net.stages[#net.stages]) before a second graft.fit, at a tenth of the rate
