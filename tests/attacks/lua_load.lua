-- Tries: to run code of bytes
-- Status: 1
-- Says: load is not there

load("\27Lua", "x", "b")()
