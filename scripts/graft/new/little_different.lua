local graft = require "graft"

-- What the command line may say: graft run RECIPE --help lists it. A value here is the default.
local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   depths = { type = "integer", default = 4, min = 1, help = "how many depths are tried, from the top down" },
   try_epochs = { type = "integer", default = 10, min = 1, help = "epochs of each trial" },
   epochs = { type = "integer", default = 20, min = 1, help = "epochs of the depth that won" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 1e-3, help = "learning rate" },
}

-- train/ and val/, or one folder a class: then 20 % of each class is held out to check with.
local d = graft.data.folder(opt.data)
local whole = graft.load(opt.weights):freeze("*")

-- The network cut after a stage, frozen, with a new classifier on it.
local function cut_at(stage)
   return whole:cut(stage):add_head(d)
end

local function train(net, name, epochs)
   return graft.fit(net, d, {
      name = name,
      epochs = epochs,
      batch_size = math.min(opt.batch_size, #d.train),
      optimizer = graft.adamw { lr = opt.lr },
   })
end

-- A classifier at each of the top stages. The photos that check it also choose the depth, so the numbers flatter a little; a
-- difference of a point or two between depths means nothing.
local best, best_accuracy
local stages = {}
for _, stage in ipairs(whole.stages) do
   if stage ~= whole.head then
      stages[#stages + 1] = stage
   end
end
for i = #stages, math.max(1, #stages - opt.depths + 1), -1 do
   local accuracy = train(cut_at(stages[i]), "cut at " .. stages[i], opt.try_epochs).best.val_accuracy
   print(("%-16s %.3f"):format(stages[i], accuracy))
   if not best or accuracy > best_accuracy + 0.005 then
      best, best_accuracy = stages[i], accuracy
   end
end

-- The depth that won, for longer.
print(("\nthe network ends at %s"):format(best))
print(train(cut_at(best), "chosen", opt.epochs))

-- What to try next:
--   all depths at once       graft run auxiliary_classifiers --help
--   the top stage with it    net:unfreeze(best) before a second graft.fit, at a tenth of the rate
