-- Tries: to follow a link out of the data folder
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: is not for this recipe

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
print(graft.image.load(opt.data .. "/mugs/link.png"))
