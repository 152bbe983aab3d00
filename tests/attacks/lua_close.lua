-- Tries: to run code on the way out of an error
-- Status: 1
-- Says: the metamethod __close is not there

local x <close> = setmetatable({}, { __close = function() while true do end end })
