-- Tries: to get at a photo outside since a link to it lies among the photos
-- Words: --data data --weights weights.safetensors
-- Status: 0
-- Says: not among them

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data, { max_skip = 1 })
for _, set in ipairs { d.train, d.val } do
   for i = 1, #set do
      if set[i].file:find "link" then
         print "BREACH"
      end
   end
end
print "not among them"
