-- Grid search: trains the head with every combination of some rates and weight decays, and keeps the best.
--
--    graft run grid_search --data photos/ --weights efficientnet_lite0.pth
--
-- The frozen body runs once over the photos; its output is kept, so that each combination costs moments. Which one is best is
-- decided on the validation photos, so its accuracy there is a little too good to be true: with a folder test/ beside train/
-- and val/ the last line tells the accuracy on photos that decided nothing.
--
-- On ants and bees (244 photos, 153 to check with) and EfficientNet-Lite0 it prints, besides the progress:
--
--          rate       decay   accuracy    loss
--         0.003           0      0.954   0.134
--         0.003      0.0001      0.954   0.141
--         0.003        0.01      0.948   0.158
--          0.01           0      0.954   0.126
--          0.01      0.0001      0.954   0.116
--          0.01        0.01      0.954   0.123
--          0.03           0      0.948   0.125
--          0.03      0.0001      0.954   0.119
--          0.03        0.01      0.954   0.134
--           0.1           0      0.967   0.272   best
--           0.1      0.0001      0.954   0.137
--           0.1        0.01      0.954   0.226
--
--    chosen: rate 0.1, weight decay 0; saved as runs/grid_search-1/chosen.safetensors
--    There is no folder test/, so no photo is left that decided nothing.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   epochs = { type = "integer", default = 15, min = 1, help = "epochs of each trial" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   rates = { type = "string", default = "0.003 0.01 0.03 0.1", help = "learning rates to try" },
   decays = { type = "string", default = "0 0.0001 0.01", help = "weight decays to try" },
}

local function numbers(text)
   local list = {}
   for word in text:gmatch("%S+") do
      list[#list + 1] = tonumber(word) or error(("%q is no number"):format(word), 0)
   end
   return list
end

local d = graft.data.folder(opt.data)
local start = graft.load(opt.weights):replace_head(d):freeze("body") -- every trial begins with the same random head

local trials, best = {}, nil
for _, lr in ipairs(numbers(opt.rates)) do
   for _, decay in ipairs(numbers(opt.decays)) do
      local net = start:clone()
      local run = graft.fit(net, d, {
         name = ("lr %g decay %g"):format(lr, decay),
         epochs = opt.epochs,
         batch_size = math.min(opt.batch_size, #d.train),
         optimizer = graft.sgd { lr = lr, momentum = 0.9, weight_decay = decay },
      })
      local trial = { net = net, lr = lr, decay = decay, accuracy = run.best.val_accuracy, loss = run.best.val_loss }
      trials[#trials + 1] = trial
      -- equally many right: the smaller loss
      if not best or trial.accuracy > best.accuracy or trial.accuracy == best.accuracy and trial.loss < best.loss then
         best = trial
      end
   end
end

print("      rate       decay   accuracy    loss")
for _, t in ipairs(trials) do
   print(("  %8g  %10g      %.3f   %.3f%s"):format(t.lr, t.decay, t.accuracy, t.loss, t == best and "   best" or ""))
end
best.net:save(graft.out("chosen.safetensors"))
print(("\nchosen: rate %g, weight decay %g; saved as %s"):format(best.lr, best.decay, graft.out("chosen.safetensors")))
if #d.test > 0 then
   print(("accuracy on %d photos that decided nothing: %.3f"):format(#d.test, graft.evaluate(best.net, d.test).accuracy))
else
   print("There is no folder test/, so no photo is left that decided nothing.")
end
