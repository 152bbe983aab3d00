-- Tries: to show a photo outside
-- Status: 1
-- Says: is not for this recipe

require("graft").image.show "../outside/photo.png"
