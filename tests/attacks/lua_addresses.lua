-- Tries: to learn where in memory things are
-- Status: 0
-- Says: none

for _, value in ipairs { {}, print, coroutine.create(print), require("graft").zeros, io.write } do
   for _, text in ipairs { tostring(value), ("%s"):format(value), string.format("%10s", value),
      select(2, pcall(error, tostring(value))) } do
      print(text:find "0x" and "BREACH" or text)
   end
   print(pcall(string.format, "%p", value) and "BREACH" or "none", pcall(("x").format, "%-20p", value) and "BREACH" or "none")
end
print({}, print)
print(tostring(print) == tostring(print) and tostring({}) ~= tostring({}) and "none" or "BREACH")
