-- Tries: to never come back from a sort
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

table.sort({ 3, 2, 1 }, function() while true do end end)
