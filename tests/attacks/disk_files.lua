-- Tries: to fill the disk with many files
-- Words: --max-disk 5MiB
-- Status: 1
-- Says: limit of disk space, 5.0 MiB
-- Says: --max-disk raises it
-- Within: 60 s

local graft = require "graft"
local x = graft.zeros(100)
local i = 0
while true do
   i = i + 1
   pcall(x.save, x, graft.out(i .. ".npy"))
end
