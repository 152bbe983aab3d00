-- Tries: to read what the user types
-- Status: 1
-- Says: io.read is not there

print(io.read())
