-- Tries: to read a table outside
-- Status: 1
-- Says: is not for this recipe

print(#require("graft").data.csv("../outside/table.csv", { image = "file", label = "tag" }).train)
