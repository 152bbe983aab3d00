-- Tries: to be called in the library's place
-- Words: --data data --weights weights.safetensors --quiet
-- Status: 0
-- Says: trained

local graft = require "graft"
local print, pairs, ipairs, next = print, pairs, ipairs, next
local breach = function() print "BREACH" end
local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights)
local fine_tune, out = graft.fine_tune, graft.out
for name in pairs(graft) do
   rawset(graft, name, breach)
end
for _, name in ipairs { "print", "pairs", "ipairs", "type", "error", "pcall", "tostring", "setmetatable", "next", "select" } do
   _G[name] = breach
end
for _, t in ipairs { string, table, math, io, os, coroutine } do
   for name in next, t do
      t[name] = breach
   end
end
fine_tune(net, d, { epochs = 4 })
print "trained"
