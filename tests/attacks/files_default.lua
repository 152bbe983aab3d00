-- Tries: to name weights as the default of an option, which the user never saw
-- Status: 1
-- Says: is not for this recipe
-- Says: --weights FILE

local graft = require "graft"
local opt = graft.options { weights = { type = "file", default = "../outside/weights.safetensors" } }
print(graft.load(opt.weights))
