-- Tries: to hide the end of a name behind a NUL byte
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: cannot hold a NUL byte

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
print(graft.image.load("../outside/photo.png\0" .. opt.data .. "/mugs/1.jpg"))
