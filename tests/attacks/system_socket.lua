-- Tries: to get a network library
-- Status: 1
-- Says: require knows only "graft" in the sandbox, not "socket"

require "socket"
