-- Tries: to read a photo outside
-- Status: 1
-- Says: is not for this recipe

print(require("graft").image.load "../outside/photo.png")
