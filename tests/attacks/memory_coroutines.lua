-- Tries: to make coroutines without end
-- Status: 1
-- Says: coroutines that have not ended

local t = {} while true do t[#t + 1] = coroutine.create(print) end
