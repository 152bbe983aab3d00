-- Tries: to write beside the recipe, where it may be run again
-- Status: 1
-- Says: only into its run folder

require("graft").zeros(2):save "next.lua"
