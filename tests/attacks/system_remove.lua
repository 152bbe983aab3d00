-- Tries: to remove a file
-- Status: 1
-- Says: os.remove is not there

os.remove "../outside/secret.txt"
