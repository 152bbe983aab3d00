-- Teach a new classifier on top of a frozen network: little data that looks like what the network was trained on.
--
--    graft run head_only --data photos/ --weights efficientnet_lite0.pth
--
-- The body runs in inference mode and is byte for byte the same afterwards.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   epochs = 20,
   batch_size = 32,
   lr = 0.01,
}

local d = graft.data.folder(opt.data) -- train/ and val/, or one folder a class: then 20 % is held out
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")

print(graft.fit(net, d, {
   epochs = opt.epochs,
   batch_size = math.min(opt.batch_size, #d.train),
   optimizer = graft.sgd { lr = opt.lr, momentum = 0.9 },
}))
