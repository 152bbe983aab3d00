-- Tries: to replace the weights that it was given to read
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: only into its run folder

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
graft.load(opt.weights):save(opt.weights)
