-- Tries: to write a report with text of its own outside
-- Words: --data data --weights weights.safetensors
-- Status: 1
-- Says: only into its run folder

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data, { val = 0.5 })
local result = graft.evaluate(graft.load(opt.weights):replace_head(d), d.val)
result.classes[1].name = "* * * * * sh"
graft.report(result, "../outside/crontab")
