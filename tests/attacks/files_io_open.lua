-- Tries: to read a file with Lua's own library
-- Status: 1
-- Says: io.open is not there for a recipe in the sandbox; --trust

io.write(io.open("../outside/secret.txt"):read "a")
