-- Tries: to go on in the handler of an error
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

xpcall(error, function() while true do pcall(error) end end)
