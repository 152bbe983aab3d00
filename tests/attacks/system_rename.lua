-- Tries: to move a file
-- Status: 1
-- Says: os.rename is not there

os.rename("../outside/secret.txt", "secret.txt")
