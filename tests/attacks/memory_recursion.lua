-- Tries: to recurse without end, in Lua and in C
-- Status: 0
-- Says: ended

local function deep() return 1 + deep() end
print(pcall(deep) and "BREACH" or "ended")
local function wrapped() return coroutine.wrap(wrapped)() end
print(pcall(wrapped) and "BREACH" or "ended")
local function called() return string.gsub("x", "x", called) end
print(pcall(called) and "BREACH" or "ended")
local t = setmetatable({}, {})
local function index(self, key) return self[key .. "x"] end
print(pcall(function() return setmetatable(t, { __index = index }).x end) and "BREACH" or "ended")
