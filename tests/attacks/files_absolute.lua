-- Tries: to read by an absolute name
-- Status: 1
-- Says: /etc/passwd
-- Says: is not for this recipe

require("graft").tensor.load "/etc/passwd"
