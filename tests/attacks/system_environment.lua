-- Tries: to read the environment
-- Status: 1
-- Says: os.getenv is not there

print(os.getenv "SECRET")
