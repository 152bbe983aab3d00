-- Tries: to leave the run folder through graft.out
-- Status: 1
-- Says: inside the run folder

print(require("graft").out "../outside/x")
