-- Tries: to steer the terminal by names that the library shows
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: \x1b[2J

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights):replace_head({ "bowls", "mugs" }):freeze "body"
print(graft.fit(net, d, { name = "\27[2J", epochs = 1, optimizer = graft.sgd { lr = 0.01 } }))
graft.models["\27[2J"] {}
