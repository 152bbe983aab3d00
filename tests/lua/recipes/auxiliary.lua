-- Joint auxiliary classifiers.
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, weights = { type = "file" }, epochs = 15, weight = 0.3 }
local d   = graft.data.folder(opt.data)                             -- train/ and val/, else val = 0.2, said aloud
local net = graft.load(opt.weights):replace_head(d):freeze("body")
net:unfreeze("layer3", "layer4")
for _, at in ipairs{ "layer2", "layer3" } do net:add_aux(at, { weight = opt.weight, hidden = 128 }) end
local run = graft.fit(net, d, { epochs = opt.epochs, optimizer = graft.adamw{ lr = 1e-3 } })
for _, h in ipairs(run.heads) do print(h.layer, h.accuracy) end     -- a list, in network order
net:remove_aux():save(graft.out("without_aux.safetensors"))
