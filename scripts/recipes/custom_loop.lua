-- Your own training loop with your own loss: the squared distance of probabilities (the Brier score).
--
--    graft run custom_loop --data photos/ --weights efficientnet_lite0.pth
--
-- What graft.fit does by itself is written out here: batches, steps, validation, a row of metrics.csv an epoch, the best
-- weights, and going on after an interruption (--resume). There is no tape: a loss returns its value and its gradient with
-- respect to the logits, and tr:step does the rest. graft.nn.check compares that gradient with finite differences.
--
-- On ants and bees (244 photos, 153 to check with) and EfficientNet-Lite0 it prints, the first lines as progress:
--
--    epoch 1/6  loss 0.320  val 0.941  lr 0.0099  best
--    epoch 2/6  loss 0.081  val 0.941  lr 0.0085
--    epoch 3/6  loss 0.052  val 0.941  lr 0.0059
--    epoch 4/6  loss 0.049  val 0.941  lr 0.0030
--    epoch 5/6  loss 0.045  val 0.941  lr 0.0008
--    epoch 6/6  loss 0.039  val 0.941  lr 1.3e-05
--    accuracy  0.941 after the last epoch, on 153 photos it never trained on
--    kept      runs/custom_loop-1/best.safetensors, the best of them

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   unfreeze = { type = "integer", default = 1, min = 0, help = "stages from the top that are trained besides the head" },
   epochs = { type = "integer", default = 6, min = 1, help = "epochs" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 0.01, help = "learning rate" },
   augment = { type = "choice", choices = { "none", "light", "standard" }, default = "light", help = "random crops and flips" },
}

-- logits and y are [N,K]: N photos, K classes; y holds 1 at the right class. With p = softmax(logits) and g = p - y the loss
-- is the mean of |g|^2 over the photos, and its gradient 2/N * p * (g - sum(p * g)).
local function brier(logits, y)
   local p = logits:softmax(2)
   local g = p - y
   return (g * g):sum() / #y, p * (g - (p * g):sum(2, true)) * (2 / #y)
end
graft.nn.check(brier, { 8, 4 }) -- raises when the gradient is wrong

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights):replace_head(d):freeze("body")
for i = #net.stages, math.max(1, #net.stages - opt.unfreeze + 1), -1 do
   net:unfreeze { net.stages[i], bn = "fixed" }
end

local batch_size = math.min(opt.batch_size, #d.train)
local tr = graft.trainer(net, {
   loss = brier,
   optimizer = graft.sgd { lr = opt.lr, momentum = 0.9 },
   schedule = graft.cosine { warmup = 0.1 },
   steps = opt.epochs * math.ceil(#d.train / batch_size), -- the length of the schedule
})

for e in tr:epochs(opt.epochs) do -- from 1, or after --resume from the first unfinished epoch
   local sum, n = 0, 0
   for x, y, b in d.train:batches { net = net, batch_size = batch_size, shuffle = true, epoch = e, augment = opt.augment } do
      sum, n = sum + tr:step(x, y, b) * #x, n + #x
   end
   tr:log { epoch = e, train_loss = sum / n, val_accuracy = tr:evaluate(d.val).accuracy } -- keeps best.safetensors
end
print(("accuracy  %.3f after the last epoch, on %d photos it never trained on"):format(tr:evaluate(d.val).accuracy, #d.val))
print(("kept      %s, the best of them"):format(graft.out("best.safetensors")))
