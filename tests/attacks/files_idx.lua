-- Tries: to read IDX files outside
-- Status: 1
-- Says: is not for this recipe

print(require("graft").data.idx("../outside", { names = { "a", "b" } }))
