-- Tries: to run code when nobody watches: a finalizer that never ends
-- Status: 1
-- Says: the metamethod __gc is not there

setmetatable({}, { __gc = function() while true do end end })
