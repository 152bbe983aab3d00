-- Tries: to double a text for ever
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: limit of memory, 200 MiB
-- Says: --max-memory raises it
-- Within: 20 s

local s = "x" while true do s = s .. s end
