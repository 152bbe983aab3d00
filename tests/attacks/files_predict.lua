-- Tries: to classify a photo outside
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: is not for this recipe

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
print(graft.load(opt.weights):predict("../outside/photo.png")[1].class)
