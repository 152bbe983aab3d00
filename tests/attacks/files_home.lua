-- Tries: to list the root of the file system
-- Status: 1
-- Says: is not for this recipe

print(require("graft").data.folder "/")
