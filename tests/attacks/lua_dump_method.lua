-- Tries: to make code of bytes by a method of strings
-- Status: 0
-- Says: none

print(("").dump and "BREACH" or "none")
