-- Tries: to make one text larger than any memory
-- Status: 0
-- Says: no

print(pcall(string.rep, "x", 1e10) and "BREACH" or "no")
print(pcall(string.rep, "", math.maxinteger, "x") and "BREACH" or "no")
print(pcall(string.rep, ("x"):rep(1000), math.maxinteger) and "BREACH" or "no")
print(pcall(("x").rep, "x", 1e10) and "BREACH" or "no")
