-- Do the fast kernels cost accuracy? The same trainings, with the same seeds, three ways:
--
--    fast    as Graft always does it: norms folded, steps fused, Winograd where it is faster
--    exact   net:exact(): without Winograd
--    plain   exact, and nothing folded or fused: the reference that the tests compare with
--
--    graft run --trust tests/bench/spread.lua --data FOLDER --weights FILE [--top LAYERS] [--seeds N] [--epochs N]
--
-- FOLDER has train/ and val/. Trainings: "head" (the rest frozen) and "top" (--top and the head, the pretrained layers at
-- one tenth of the rate, augmented). One line a training, way and seed, then tables: mean and standard deviation over the
-- seeds, and whether the mean of a way and that of "fast" lie within the other's standard deviation. --ways and --trainings
-- take a part of it.

local graft = require "graft"
local network = require "graft.network"

local opt = graft.options {
   data = { type = "folder", help = "train/ and val/, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   top = { type = "string", default = "layer4", help = "layers that train with the head, with commas" },
   ways = { type = "string", default = "fast,exact,plain", help = "with commas; fast is always one" },
   trainings = { type = "string", default = "head,top", help = "with commas" },
   seeds = 5,
   epochs = 25,
   lr = 0.01,
}

local function words(text, known)
   local list = {}
   for word in text:gmatch "[^,]+" do
      if known and not known[word] then
         local names = {}
         for name in pairs(known) do
            names[#names + 1] = name
         end
         table.sort(names)
         error(('"%s" is none of %s'):format(word, table.concat(names, ", ")), 0)
      end
      list[#list + 1] = word
   end
   return list
end

local ways = {
   fast = function() end,
   exact = function(net) net:exact() end,
   plain = function(net)
      net:exact()
      network.handle(net, "spread"):set_reference(true)
   end,
}

local trainings = {
   head = function(net, d)
      net:replace_head(d):freeze("body")
      return graft.fit(net, d, { epochs = opt.epochs, optimizer = graft.sgd { lr = opt.lr, momentum = 0.9 } })
   end,
   top = function(net, d)
      net:replace_head(d):freeze("body"):unfreeze(table.unpack(words(opt.top)))
      net:lr_scale { { "*", 1 / 10 }, { "head", 1 } }
      return graft.fit(net, d, { epochs = opt.epochs, augment = "light",
         optimizer = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 },
         schedule = graft.cosine { warmup = 0.1 } })
   end,
}

-- Mean and standard deviation (of a sample).
local function statistics(values)
   local sum, squares = 0, 0
   for _, value in ipairs(values) do
      sum = sum + value
   end
   local mean = sum / #values
   for _, value in ipairs(values) do
      squares = squares + (value - mean) ^ 2
   end
   return mean, #values > 1 and (squares / (#values - 1)) ^ 0.5 or 0
end

-- The files of one training out of many are of no use.
local function forget(run)
   for _, name in ipairs { "best", "last" } do
      os.remove(("%s/%s.safetensors"):format(run.out, name))
   end
end

local measures = { { "best", "best epoch" }, { "last", "last epoch" } }

local function train(training, way, seed, d)
   graft.seed(seed)
   local net <close> = graft.load(opt.weights)
   ways[way](net)
   local run = trainings[training](net, d)
   forget(run)
   local got = { best = run.best.val_accuracy, last = run.last.val_accuracy, seconds = run.seconds }
   print(("%-6s %-6s seed %d   best %.4f (epoch %2d)   last %.4f   %6.1f s"):format(training, way, seed, got.best,
      run.best.epoch, got.last, got.seconds))
   io.stdout:flush()
   return got
end

local function within(distance, spread)
   return distance <= spread + 1e-12 and "yes" or "no"
end

local function show_table(measure, title, order, results)
   print(("\nval accuracy of the %s, %d seed%s, %d epochs"):format(title, opt.seeds, opt.seeds == 1 and "" or "s",
      opt.epochs))
   print(("  %-8s  %-6s  %7s  %7s  %9s  %21s  %21s"):format("training", "way", "mean", "spread", "less fast",
      "within fast's spread", "fast within its own"))
   for _, training in ipairs(words(opt.trainings)) do
      local fast_mean, fast_spread
      for _, way in ipairs(order) do
         local values = {}
         for seed, got in ipairs(results[training][way]) do
            values[seed] = got[measure]
         end
         local mean, spread = statistics(values)
         if way == "fast" then
            fast_mean, fast_spread = mean, spread
            print(("  %-8s  %-6s  %7.4f  %7.4f"):format(training, way, mean, spread))
         else
            local distance = math.abs(mean - fast_mean)
            print(("  %-8s  %-6s  %7.4f  %7.4f  %+9.4f  %21s  %21s"):format(training, way, mean, spread, mean - fast_mean,
               within(distance, fast_spread), within(distance, spread)))
         end
      end
   end
end

local d = graft.data.folder(opt.data)
local order, results = { "fast" }, {}
for _, way in ipairs(words(opt.ways, ways)) do
   if way ~= "fast" then
      order[#order + 1] = way
   end
end
for _, training in ipairs(words(opt.trainings, trainings)) do
   results[training] = {}
   for _, way in ipairs(order) do
      results[training][way] = {}
   end
   for seed = 1, opt.seeds do
      for _, way in ipairs(order) do
         results[training][way][seed] = train(training, way, seed, d)
      end
   end
end
for _, measure in ipairs(measures) do
   show_table(measure[1], measure[2], order, results)
end
