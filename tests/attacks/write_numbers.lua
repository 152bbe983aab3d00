-- Tries: to write a NumPy file outside
-- Status: 1
-- Says: only into its run folder

require("graft").zeros(2):save "../outside/zeros.npy"
