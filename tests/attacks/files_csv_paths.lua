-- Tries: to reach photos outside through the rows of a table that was named
-- Words: --table data/list.csv
-- Status: 0
-- Says: leaves the folder
-- Says: only the four that lie beside it

local graft = require "graft"
local opt = graft.options { table = { type = "file" } }
local d = graft.data.csv(opt.table, { image = "file", label = "tag", max_skip = 1 })
for _, skipped in ipairs(d.skipped) do
   print(skipped.file, skipped.reason)
end
print(#d.train + #d.val == 4 and "only the four that lie beside it" or "BREACH")
