-- Accuracy of the shipped ways of transfer on real photos: one line a way, data set and seed, then the medians.
--
--    graft run tests/bench/accuracy.lua --data FOLDER-OF-SETS --weights FILE --sets hymenoptera,steel6
--
-- A set is a folder with train/ and val/. Ways: head (head only), fine (fine_tune), scratch (the same network from
-- random weights, as many epochs as fine).

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "folder of data sets" },
   weights = { type = "file", help = "pretrained weights" },
   sets = { type = "string", default = "hymenoptera", help = "names, with commas" },
   ways = { type = "string", default = "head", help = "head, fine, scratch, with commas" },
   seeds = 3,
   epochs = 20,
   fine_epochs = 10,
}

local function words(text)
   local list = {}
   for word in text:gmatch "[^,]+" do
      list[#list + 1] = word
   end
   return list
end

local sgd = graft.sgd { lr = 0.01, momentum = 0.9 }
local ways = {
   head = function(d)
      local net <close> = graft.load(opt.weights):replace_head(d):freeze("body")
      return graft.fit(net, d, { name = "head", epochs = opt.epochs, optimizer = sgd })
   end,
   fine = function(d)
      local net <close> = graft.load(opt.weights)
      return graft.fine_tune(net, d, { epochs = opt.fine_epochs })
   end,
   scratch = function(d)
      local net <close> = graft.load(opt.weights):replace_head(d):reinit("*")
      return graft.fit(net, d, { name = "scratch", epochs = opt.fine_epochs, augment = "light",
         optimizer = graft.sgd { lr = 0.01, momentum = 0.9, weight_decay = 1e-4 },
         schedule = graft.one_cycle { warmup = 0.3 } })
   end,
}

local summary = {}
for _, name in ipairs(words(opt.sets)) do
   local d = graft.data.folder(opt.data .. "/" .. name)
   for _, way in ipairs(words(opt.ways)) do
      local values = {}
      for seed = 1, opt.seeds do
         graft.seed(seed)
         local run = ways[way](d)
         values[seed] = run.best.val_accuracy
         print(("%-12s %-8s seed %d  val %.3f  (epoch %d)  %.1f s"):format(name, way, seed, values[seed], run.best.epoch,
            run.seconds))
      end
      table.sort(values)
      summary[#summary + 1] = ("%-12s %-8s median %.3f  of %d seeds"):format(name, way, values[(#values + 1) // 2],
         #values)
   end
end
print("\n" .. table.concat(summary, "\n"))
