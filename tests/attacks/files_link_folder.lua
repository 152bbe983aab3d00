-- Tries: to follow a link to a folder outside
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: is not for this recipe

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
print(graft.data.folder(opt.data .. "/away"))
