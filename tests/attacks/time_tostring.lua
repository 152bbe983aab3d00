-- Tries: to go on where text is made of a value
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

print(setmetatable({}, { __tostring = function() while true do end end }))
