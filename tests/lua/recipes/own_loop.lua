-- Own loop, own loss: squared distance of probabilities (Brier).
local graft = require "graft"
local opt = graft.options{
  data    = { type = "folder", help = "photos, one folder a class" },
  weights = { type = "file",   help = "pretrained weights" },
  epochs = 20, batch_size = 32, lr = 0.01 }
local d = graft.data.folder(opt.data, { val = 0.2 })
local function brier(logits, y)
  local p = logits:softmax(2)
  local g = p - y
  return (g * g):sum() / #y, p * (g - (p * g):sum(2, true)) * (2 / #y)
end
graft.nn.check(brier, { 8, 4 })
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body"):unfreeze("layer4")
local per_epoch = math.ceil(#d.train / opt.batch_size)
local tr = graft.trainer(net, { loss = brier, optimizer = graft.sgd{ lr = opt.lr, momentum = 0.9 },
                                schedule = graft.cosine{ warmup = 0.1 }, steps = opt.epochs * per_epoch })
for e in tr:epochs(opt.epochs) do
  local sum, n = 0, 0
  for x, y, b in d.train:batches{ net = net, batch_size = opt.batch_size, shuffle = true, epoch = e, augment = "light" } do
    sum, n = sum + tr:step(x, y, b) * #x, n + #x
  end
  tr:log{ epoch = e, train_loss = sum / n, val_accuracy = tr:evaluate(d.val).accuracy }
end
