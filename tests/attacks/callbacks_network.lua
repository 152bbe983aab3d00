-- Tries: to change the network while it is trained
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: on_epoch

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights):replace_head(d):freeze "body"
graft.fit(net, d, { epochs = 2, on_epoch = function() net:unfreeze "body" end })
