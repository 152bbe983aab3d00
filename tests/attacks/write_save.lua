-- Tries: to save a network over a file outside
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: is not for this recipe
-- Says: only into its run folder
-- Says: graft.out("NAME")

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
graft.load(opt.weights):save "../outside/weights.safetensors"
