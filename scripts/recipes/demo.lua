-- Transfer against from scratch, in a minute: a network that knows six kinds of clothes learns four others.
--
--    graft run demo
--
-- The pictures are Fashion-MNIST (Debian's package dataset-fashion-mnist), 25 a class; accuracy is measured on all
-- 4,000 test pictures of the four classes.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", default = "/usr/share/datasets/fashion-mnist", help = "folder with the IDX files" },
   weights = { type = "file", default = "models/fashion_six.safetensors", help = "network trained on the other six" },
   per_class = { type = "integer", default = 25, min = 1, help = "training pictures of each class" },
   epochs = { type = "integer", default = 40, min = 1, help = "epochs of both trainings" },
   lr = { type = "number", default = 0.05, help = "learning rate of the head" },
}

local names = { "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot" }
local d = graft.data.idx(opt.data, { names = names, classes = { "coat", "sandal", "shirt", "ankle boot" } })
   :take { per_class = opt.per_class, seed = 1 }

-- The same training for both: epochs, rate, augmentation. No test picture is looked at before the end.
local function train(name, net)
   local run = graft.fit(net, d, {
      name = name,
      epochs = opt.epochs,
      batch_size = math.min(25, #d.train),
      val = false,
      keep = "last",
      augment = { graft.augment.hflip {} },
      optimizer = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 5e-4 },
      schedule = graft.cosine { warmup = 0.1 },
   })
   local result = graft.evaluate(net, d.test)
   return { name = name, accuracy = result.accuracy, seconds = run.seconds, net = net }
end

-- Pretrained: the stem and the first stages stay as they are, the last stage and a new head learn.
local pretrained = graft.load(opt.weights):replace_head(d):freeze("body"):unfreeze("layer3")
   :lr_scale { { "*", 1 / 10 }, { "head", 1 } }
local transfer = train("transfer", pretrained)
local scratch = train("from scratch", graft.models.fashion { classes = d.classes })

print(("\n%d training pictures (%d a class), %d test pictures of: %s\n"):format(#d.train, opt.per_class, #d.test,
   table.concat(d.classes, ", ")))
print("                 test accuracy   training time")
for _, r in ipairs { transfer, scratch } do
   print(("  %-14s     %.3f          %5.1f s"):format(r.name, r.accuracy, r.seconds))
end

-- A few test pictures, one of each class, as the transferred network sees them.
print("\n  picture        what the network says")
local seen, shown = {}, 0
for x, _, b in d.test:batches { net = transfer.net, batch_size = 64 } do
   local p = transfer.net(x):softmax(2)
   for i, class in ipairs(b.classes) do
      if not seen[class] then
         seen[class], shown = true, shown + 1
         local best = p[i]:argmax()
         print(("  %-14s %-12s %.2f"):format(class, transfer.net.classes[best], p[i][best]))
      end
   end
   if shown == #d.classes then
      break
   end
end
transfer.net:save(graft.out("clothes.safetensors"))

print("\nThe same on your own photos (one folder a class; where to get weights: graft help weights):\n"
   .. "  ./build/graft run head_only --data photos/ --weights WEIGHTS")
