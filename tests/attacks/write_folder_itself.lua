-- Tries: to put a file where its run folder is
-- Status: 1
-- Says: only into its run folder

local graft = require "graft"
graft.zeros(2):save((graft.out("x"):gsub("/x$", "")))
