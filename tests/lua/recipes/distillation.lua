-- Knowledge distillation into a smaller network (weights: the trained teacher).
local graft = require "graft"
local opt = graft.options{
  data    = { type = "folder", help = "photos, one folder a class" },
  weights = { type = "file",   help = "pretrained weights" },
  epochs = 20, batch_size = 32, lr = 0.01 }
local teacher = graft.load(opt.weights)
local d = graft.data.folder(opt.data, { classes = teacher.classes })
local student = graft.models.mobilenet_v2{ classes = d.classes }
local hard, T, alpha = graft.nn.cross_entropy{}, 4, 0.7
local function distill(logits, y, b)
  local l1, g1 = hard(logits, y)
  local t = (teacher(b:input(teacher)) / T):softmax(2)
  local s = (logits / T):softmax(2)
  local l2 = (t * (t:log() - s:log())):sum() / #y * T * T
  return (1 - alpha) * l1 + alpha * l2, g1 * (1 - alpha) + (s - t) * (alpha * T / #y)
end
print(graft.fit(student, d, { loss = distill, epochs = opt.epochs, augment = "standard", optimizer = graft.adamw{ lr = 1e-3 } }))
