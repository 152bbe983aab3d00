-- Tries: to change the methods of all strings
-- Status: 0
-- Says: no metatable

local graft = require "graft"
print(type(getmetatable("")) == "table" and "BREACH" or "no metatable")
string.format = function() return "BREACH" end
string.gsub, string.match, string.find, string.rep = string.format, string.format, string.format, string.format
print(select(2, pcall(graft.zeros, "x")), ("%d"):format(3), graft.models.fashion { classes = { "a", "b" } })
print(pcall(setmetatable, "", {}) and "BREACH" or "refused")
