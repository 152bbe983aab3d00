-- Tries: to end with a status of its own
-- Status: 1
-- Says: os.exit is not there

os.exit(0)
