-- Tries: to read devices
-- Status: 0
-- Says: refused

local graft = require "graft"
for _, path in ipairs { "/dev/mem", "/dev/zero", "/dev/tty", "/dev/stdin" } do
   print(pcall(graft.tensor.load, path) and "BREACH" or "refused")
end
