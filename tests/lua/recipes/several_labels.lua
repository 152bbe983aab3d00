-- Several labels a photo, from a CSV: file,tags  ->  a.jpg,red|matt.
local graft = require "graft"
local opt = graft.options{ csv = { type = "file" }, weights = { type = "file" }, epochs = 15 }
local d   = graft.data.csv(opt.csv, { image = "file", labels = "tags", separator = "|", val = 0.2 })
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")
print(graft.fit(net, d, { epochs = opt.epochs, optimizer = graft.adamw{ lr = 1e-3 }, monitor = "val_map" }))
for _, t in ipairs(net:predict(d.val[1].file)) do if t.p > 0.5 then print(t.class, t.p) end end
