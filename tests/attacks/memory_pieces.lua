-- Tries: to fill memory in small pieces
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: limit of memory, 200 MiB
-- Says: --max-memory raises it
-- Within: 20 s

local t = {} while true do t[#t + 1] = {} end
