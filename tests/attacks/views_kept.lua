-- Tries: to keep what it was lent for a call
-- Status: 1
-- Says: this tensor was closed

local graft = require "graft"
local kept
local layer = graft.nn.layer { kind = "keeper", forward = function(x)
   kept = x
   return x + 0
end, backward = function(gy) return gy end }
local net = graft.nn.network { name = "n", input = { 3, 4, 4 }, classes = { "a", "b" }, head = "fc", build = function(x)
   return x:apply("keeper", layer):flatten():linear("fc", { out = 2 })
end }
net:forward(graft.zeros(1, 3, 4, 4))
net:close()
print(kept:sum())
