-- Tries: to look into other functions
-- Status: 1
-- Says: debug is not there

print(debug.getregistry())
