-- Tries: to add the finalizer when the metatable is in use
-- Status: 0
-- Says: no finalizer

local meta = { __index = {} }
for _ = 1, 100 do
   setmetatable({}, meta)
end
meta.__gc = function() print "BREACH" end
for i = 1, 1e6 do
   local _ = { i }
end
print(pcall(setmetatable, {}, meta) and "BREACH" or "no finalizer")
