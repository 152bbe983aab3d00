-- Tries: to replace a photo that it was given to read
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: only into its run folder

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
graft.image.save(graft.zeros(3, 4, 4), opt.data .. "/mugs/1.jpg")
