-- Tries: to make code of bytes
-- Status: 1
-- Says: string.dump is not there

print(#string.dump(function() end))
