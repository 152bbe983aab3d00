-- Tries: to fill the disk with one file
-- Words: --max-disk 5MiB
-- Status: 1
-- Says: File too large
-- Within: 20 s

local graft = require "graft"
graft.zeros(4000, 1000):save(graft.out "big.npy")
