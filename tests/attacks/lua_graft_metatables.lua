-- Tries: to get at the metatables of Graft's own objects
-- Status: 0
-- Says: all closed

local graft = require "graft"
local net = graft.models.fashion { classes = { "a", "b" } }
local failure = select(2, pcall(graft.zeros, "x"))
for _, object in ipairs { graft, graft.data, graft.tensor, graft.zeros(2), net, failure, graft.sgd { lr = 1 }, _G, io, string } do
   if type(getmetatable(object)) == "table" or pcall(setmetatable, object, {}) then
      print("BREACH", object)
   end
end
print "all closed"
