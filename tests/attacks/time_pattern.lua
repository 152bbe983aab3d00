-- Tries: to never come back from a pattern
-- Words: --max-time 1s
-- Status: 1
-- Says: limit of time
-- Says: --max-time raises it
-- Within: 3 s

print((("a"):rep(100000)):find((".-"):rep(30) .. "b"))
