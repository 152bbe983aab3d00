-- Tries: to learn which files are there
-- Status: 0
-- Says: the same answer

local graft = require "graft"
local there = select(2, pcall(graft.load, "../outside/weights.safetensors")).message
local missing = select(2, pcall(graft.load, "../outside/nonesuch.safetensor")).message
print(there:gsub("weights%.safetensors", "X") == missing:gsub("nonesuch%.safetensor", "X") and "the same answer" or "BREACH")
