-- Tries: to go on by catching the end of memory
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: limit of memory, 200 MiB
-- Says: --max-memory raises it
-- Within: 20 s

local t = {}
while true do
   pcall(function()
      while true do
         t[#t + 1] = ("x"):rep(1000) .. #t
      end
   end)
end
