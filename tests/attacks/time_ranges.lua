-- Tries: to visit ranges without end
-- Status: 0
-- Says: more than 67108864 entries

for _, call in ipairs { { table.unpack, {}, 1, 1e8 }, { table.unpack, {}, math.mininteger, math.maxinteger },
   { table.move, {}, 1, 1 << 40, 2 }, { table.move, {}, math.mininteger, math.maxinteger, 1 }, { table.concat, {}, "", 1, 1 << 40 },
   { table.unpack, {}, -1, math.maxinteger } } do
   local ok, failure = pcall(table.unpack(call))
   print(ok and "BREACH" or failure.message)
end
