-- Tries: to never come back from a layer
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

local graft = require "graft"
local layer = graft.nn.layer { kind = "slow", forward = function(x)
   while true do end
   return x
end, backward = function(gy) return gy end }
local net = graft.nn.network { name = "n", input = { 3, 4, 4 }, classes = { "a", "b" }, head = "fc", build = function(x)
   return x:apply("slow", layer):flatten():linear("fc", { out = 2 })
end }
net:forward(graft.zeros(1, 3, 4, 4))
