-- Tries: to read what the user types, by the stream
-- Status: 1
-- Says: io.stdin is not there

print(io.stdin:read())
