-- Tries: to read the memory and the environment of its own process
-- Status: 0
-- Says: refused, all of them

local graft = require "graft"
for _, path in ipairs { "/proc/self/mem", "/proc/self/maps", "/proc/self/environ", "/proc/self/fd/1", "/proc/1/environ" } do
   for _, read in ipairs { graft.tensor.load, graft.image.load, graft.load, graft.data.folder } do
      local ok, failure = pcall(read, path)
      if ok or not failure.message:find("is not for this recipe", 1, true) then
         print("BREACH", path, ok, failure)
      end
   end
end
print "refused, all of them"
