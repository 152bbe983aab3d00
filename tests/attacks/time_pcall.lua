-- Tries: to go on by catching what ends it
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

while true do pcall(function() while true do end end) end
