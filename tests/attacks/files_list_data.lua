-- Tries: to read photos outside by a list of its own
-- Status: 1
-- Says: it has no photo

local graft = require "graft"
local d = graft.data.list({ { image = "../outside/photo.png", class = "a" }, { image = "../outside/photo.png", class = "b" } },
   { max_skip = 1, val = 0.5 })
print(#d.train + #d.val > 0 and "BREACH" or "none")
