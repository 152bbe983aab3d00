-- Tries: to answer for options in the library's place
-- Words: --data data --weights weights.safetensors
-- Status: 0
-- Says: done

local graft = require "graft"
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights):replace_head(d):freeze "body"
local hostile = setmetatable({ epochs = 1 }, { __index = function() return "BREACH" end, __len = function() return 1 << 40 end,
   __pairs = function() return function() return "out", "../outside/run" end end })
print(graft.fit(net, d, hostile).stopped)
