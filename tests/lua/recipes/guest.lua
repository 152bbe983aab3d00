-- Stock lua5.4, inside another program.
local ok, graft = pcall(require, "graft")
if not ok then return nil, tostring(graft) end
graft.config{ threads = 1, progress = false }
local net <close> = graft.load("runs/mine-1/best.safetensors")
local ok2, top = pcall(net.predict, net, "upload.jpg", { top = 3 })
if not ok2 then print(top.kind, top.message) return end
print(top[1].class, top[1].p)
