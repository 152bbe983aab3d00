-- Tries: to load weights that the user did not name
-- Status: 1
-- Says: is not for this recipe
-- Says: --weights FILE
-- Says: --trust

print(require("graft").load "../outside/weights.safetensors")
