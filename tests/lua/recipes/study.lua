-- Scratch or pretrained.
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, weights = { type = "file" }, hours = 2.0 }
local d = graft.data.folder(opt.data, { size = 128 })
local s = graft.study{ seeds = { 1, 2, 3 }, tune = { lr = { 0.003, 0.01, 0.03 } }, budget = opt.hours * 3600,
  vary = { { "init", { "pretrained", "random" } }, { "epochs", { 10, 30, 100 } } },
  trial = function(c)
    local net = graft.load(opt.weights):replace_head(d.classes)
    if c.init == "random" then net:reinit("*") else net:lr_scale{ { "*", 1/10 }, { "head", 1 } } end
    return graft.fit(net, d, { epochs = c.epochs, schedule = graft.cosine{ warmup = 0.05 },
      optimizer = graft.sgd{ lr = c.lr, momentum = 0.9, weight_decay = 1e-4 } })
  end }
print(s.verdict, s.why)
graft.report(s, graft.out("study.html"))
