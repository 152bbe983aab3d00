-- Tries: to ask for more threads than there can be
-- Status: 1
-- Says: threads must be

require("graft").config { threads = 100000 }
