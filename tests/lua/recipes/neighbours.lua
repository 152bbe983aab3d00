-- Nearest neighbours on embeddings.
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, weights = { type = "file" }, k = 5 }
local d, net = graft.data.folder(opt.data), graft.load(opt.weights)
local known, ki = graft.embed(net, d.train, { normalize = true })
local asked, ai = graft.embed(net, d.val,   { normalize = true })
local near = asked:matmul(known:t()):topk(opt.k, 2)
local right = 0
for i, list in ipairs(near) do
  local votes, best = {}, nil
  for _, j in ipairs(list) do
    local c = ki.classes[j]
    votes[c] = (votes[c] or 0) + 1
    if not best or votes[c] > votes[best] then best = c end         -- no pairs(): order must not matter
  end
  if best == ai.classes[i] then right = right + 1 end
end
print(("%d of %d right"):format(right, #near))
