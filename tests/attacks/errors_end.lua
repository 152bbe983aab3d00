-- Tries: to catch the end of the plan, or of --help
-- Words: --help
-- Status: 0
-- Says: options of this recipe

local graft = require "graft"
while true do
   local ok = pcall(graft.options, { epochs = 1 })
   if not ok then
      print "BREACH"
   end
end
