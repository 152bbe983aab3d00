-- Tries: to list a folder outside
-- Status: 1
-- Says: is not for this recipe

print(require("graft").data.folder "../outside")
