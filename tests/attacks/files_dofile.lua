-- Tries: to read and run another file
-- Status: 1
-- Says: dofile is not there

dofile "../outside/secret.txt"
