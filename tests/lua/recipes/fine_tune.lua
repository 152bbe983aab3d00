-- Fine-tune, pretrained layers at one tenth.
local graft = require "graft"
local opt = graft.options{
  data    = { type = "folder", help = "photos, one folder a class" },
  weights = { type = "file",   help = "pretrained weights" },
  epochs = 20, batch_size = 32, lr = 0.01 }
local d = graft.data.folder(opt.data, { val = 0.2 })
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")
local sgd = graft.sgd{ lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }
graft.fit(net, d, { name = "head", epochs = 3, optimizer = sgd })
net:unfreeze("body"):lr_scale{ { "*", 1/10 }, { "head", 1 } }
print(graft.fit(net, d, { name = "all", epochs = opt.epochs, batch_size = opt.batch_size, augment = "standard",
                          optimizer = sgd, schedule = graft.one_cycle{ warmup = 0.3 } }))
