-- Tries: to compute features of a photo outside
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: is not for this recipe

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
print(graft.embed(graft.load(opt.weights), { "../outside/photo.png" }))
