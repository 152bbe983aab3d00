-- Head only.
local graft = require "graft"
local opt = graft.options{
  data    = { type = "folder", help = "photos, one folder a class" },
  weights = { type = "file",   help = "pretrained weights" },
  epochs = 20, batch_size = 32, lr = 0.01 }
local d = graft.data.folder(opt.data, { val = 0.2 })
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")
print(graft.fit(net, d, { epochs = opt.epochs, batch_size = opt.batch_size,
                          optimizer = graft.sgd{ lr = opt.lr, momentum = 0.9 } }))
