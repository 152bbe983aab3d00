-- Tries: to ask for one tensor larger than any memory
-- Words: --max-memory 200MiB
-- Status: 1
-- Says: out of memory
-- Says: --max-memory

require("graft").zeros(1000000, 1000000)
