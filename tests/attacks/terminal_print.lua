-- Tries: to steer the terminal
-- Status: 1
-- Says: \x1b[2J
-- Says: \x1b[5m in an error

local graft = require "graft"
print "\27[2J\27]0;title\7 clear"
io.write("\27[31m", 1, "\r\27[K", "\b\b\n")
io.stdout:write "\xc2\x9b2J\x9b2J\n"
io.stderr:write "\27c\0\n"
error "\27[5m in an error"
