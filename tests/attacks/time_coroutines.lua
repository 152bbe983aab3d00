-- Tries: to go on in another coroutine
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

while true do coroutine.wrap(function() while true do end end)() end
