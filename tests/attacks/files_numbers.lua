-- Tries: to read a NumPy file outside
-- Status: 1
-- Says: is not for this recipe

print(require("graft").tensor.load "../outside/numbers.npy")
