-- Tries: to lift the limit
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: out of memory
-- Says: --max-memory
-- Within: 20 s

local graft = require "graft"
graft.config { memory = 0 }
graft.config { memory = 1 << 40 }
local kept = {}
while true do
   kept[#kept + 1] = graft.ones(1000, 1000)
end
