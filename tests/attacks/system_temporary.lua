-- Tries: to make a temporary file
-- Status: 1
-- Says: os.tmpname is not there

print(os.tmpname())
