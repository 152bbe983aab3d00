-- Tries: to train into a folder of its own choice (the command line has chosen another)
-- Words: --data data --weights weights.safetensors
-- Status: 0
-- Says: run-

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data)
print(graft.fit(graft.load(opt.weights):replace_head(d), d, { epochs = 1, out = "../outside/run" }).out)
