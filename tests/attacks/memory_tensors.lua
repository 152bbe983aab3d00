-- Tries: to keep tensors, and catch the end of memory
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: out of memory
-- Says: --max-memory
-- Within: 20 s

local graft = require "graft"
local kept = {}
while true do
   pcall(function()
      kept[#kept + 1] = graft.ones(1000, 1000)
   end)
end
