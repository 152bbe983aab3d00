-- Probe, advice, act.
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, weights = { type = "file" } }
local d, net = graft.data.folder(opt.data), graft.load(opt.weights)
local p = graft.probe(net, d, { folds = 5, fractions = { 0.1, 0.3, 1.0 } })   -- at= defaults to the stages without the stem
local a = graft.advise(p)
print(p, a)
if a.action == "cut" then net = net:cut(p.best):add_head(d.classes)
else net = a:apply(net, d) end
print(graft.fit(net, d, { epochs = 20, optimizer = graft.adamw{ lr = 1e-3 } }))
