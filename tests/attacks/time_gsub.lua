-- Tries: to go on inside C functions that call back
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

local function again()
   while true do
      pcall(string.gsub, "x", "x", again)
   end
end
again()
