-- Tries: to leave the run folder by an absolute name
-- Status: 1
-- Says: inside the run folder

print(require("graft").out "/tmp/x")
