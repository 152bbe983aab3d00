-- Tries: to declare options that are Graft's own
-- Status: 0
-- Says: refused

local graft = require "graft"
for _, name in ipairs { "trust", "read", "max_memory", "out" } do
   print(pcall(graft.options, { [name] = "x" }) and "BREACH" or "refused")
end
