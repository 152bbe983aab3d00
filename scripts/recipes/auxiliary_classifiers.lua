-- Auxiliary classifiers: small classifiers at intermediate depths, trained jointly with the last one.
--
--    graft run auxiliary_classifiers --data photos/ --weights efficientnet_lite0.pth
--
-- For little data that is unlike the pretraining, where the features of the top may say less than those further down. Each
-- classifier adds `weight` times its loss. The accuracy at every depth is printed at the end: where a lower one does as well as
-- the last, net:cut there makes a smaller and faster network. The model without them is saved too.
--
-- On NEU's steel surfaces (240 photos, 360 to check with) and EfficientNet-Lite0 it prints, besides the progress:
--
--    accuracy   0.986 on photos it never trained on (355 of 360; 95 % interval 0.97-0.99); always saying "crazing": 0.17
--    mistakes   inclusion taken for scratches 2, inclusion taken for rolled-in_scale 1, pitted_surface taken for inclusion 1
--    auxiliary  blocks.5  accuracy 0.969, loss 0.089
--    auxiliary  blocks.6  accuracy 0.975, loss 0.086
--    frozen     270 tensors exactly as before (sha256 936e..dd before and after)
--    spent      11.3 s, 125 MiB (the whole process 129 MiB); the cache saved 7 passes over the frozen part
--    kept       runs/auxiliary_classifiers-1/best.safetensors (epoch 6 of 8, chosen on those 360 photos)
--    next       graft predict runs/auxiliary_classifiers-1/best.safetensors PHOTO

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   depths = { type = "integer", default = 2, min = 1, help = "how many of the stages below the top get a classifier" },
   weight = { type = "number", default = 0.3, min = 0, help = "of an auxiliary loss, against 1 for the last classifier" },
   hidden = { type = "integer", default = 128, min = 0, help = "width of their hidden layer; 0: none" },
   epochs = { type = "integer", default = 8, min = 1, help = "epochs" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 1e-3, help = "learning rate" },
}

local d = graft.data.folder(opt.data) -- train/ and val/, or one folder a class: then 20 % is held out
local net = graft.load(opt.weights):replace_head(d):freeze("body")

-- The stages below the last one; those from the lowest classifier on are trained.
local stages = net.stages
local first = math.max(1, #stages - opt.depths)
for i = first + 1, #stages do
   net:unfreeze { stages[i], bn = "fixed" }
end
for i = first, #stages - 1 do
   net:add_aux(stages[i], { weight = opt.weight, hidden = opt.hidden })
end

local run = graft.fit(net, d, {
   epochs = opt.epochs,
   batch_size = math.min(opt.batch_size, #d.train),
   clip = 1,
   optimizer = graft.adamw { lr = opt.lr },
})
print(run)

-- From the input to the output: the first that is within a point of the last classifier.
for _, head in ipairs(run.heads) do
   if head.accuracy >= run.evaluation.accuracy - 0.01 then
      print(("\n%s does nearly as well as the last classifier: net:cut(%q):add_head(d) ends the network there"):format(
         head.layer, head.layer))
      break
   end
end

net:remove_aux():save(graft.out("without_aux.safetensors"))
