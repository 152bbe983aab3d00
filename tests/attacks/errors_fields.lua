-- Tries: to hide code in the fields of an error
-- Status: 1
-- Says: an error

local failure = select(2, pcall(require("graft").load, 1))
for _, key in ipairs { "message", "where", "near", "kind" } do
   rawset(failure, key, setmetatable({}, { __tostring = function() return "BREACH" end, __concat = function() return "BREACH" end }))
end
error(failure)
