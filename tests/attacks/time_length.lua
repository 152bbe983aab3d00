-- Tries: to count for ever: a length without end
-- Status: 0
-- Says: more than 67108864 entries

local t = setmetatable({}, { __len = function() return 1 << 60 end, __index = function() return "x" end })
for _, f in ipairs { table.concat, table.unpack, table.sort, table.remove } do
   print(select(2, pcall(f, t)).message)
end
print(select(2, pcall(table.insert, t, 1, "x")).message)
