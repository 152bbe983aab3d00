-- Probes and advice: what the pretrained network sees of your classes already, at each depth, and a training as that advises.
--
--    graft run probes --data photos/ --weights resnet18.pth
--
-- On 244 photos of ants and bees with tiny_darknet (2 cores, 4 s): the last depth best at 0.910 on held-out photos, little data,
-- like ImageNet, so the head only; then 0.948 on 153 photos it never trained on.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   folds = { type = "integer", default = 5, min = 2, help = "parts of the photos that are held out in turn" },
   epochs = { type = "integer", default = 20, min = 1, help = "passes over the photos" },
   lr = { type = "number", default = 1e-3, help = "learning rate of the new classifier" },
}

local d, net = graft.data.folder(opt.data), graft.load(opt.weights)

-- Of the data the photos to train on alone: those that check the training have no say in what is trained.
local p = graft.probe(net, d, { folds = opt.folds })
local a = graft.advise(p)
print(p)
print()
print(a)
print()
graft.report(p, graft.out("probe.html"))

-- Head, freezing and rates as the advice says; for a cut, the network that ends there.
net = a:apply(net, d)
print(graft.fit(net, d, { epochs = opt.epochs, batch_size = math.min(32, #d.train),
   optimizer = graft.adamw { lr = opt.lr } }))
