-- What graft.advise recommends, against a small grid of recipes on the same photos. A recipe, never part of the tests:
--
--    graft run tests/bench/advice_grid.lua --data DIR --weights FILE --out runs/grid --rows FILE.csv [--size N]
--       [--per-class N] [--seeds N] [--epochs N] [--only "ARM,ARM"] --trust
--
-- Every arm is trained --seeds times and measured on the photos that are not trained on (val/ of a folder, the test images of
-- IDX files); the probe sees the training part alone. Rows are appended to --rows, and arms that are there are left out, so
-- that a grid can be stopped and gone on with. With --advised the probe and the advice come first: which of the arms it names is
-- to be within one standard error of the best, or one point.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, or IDX files" },
   weights = { type = "file", help = "pretrained weights" },
   rows = { type = "file", help = "CSV that rows are appended to" },
   size = { type = "integer", default = 0, help = "pixels a side (default: the network's)" },
   per_class = { type = "integer", default = 0, help = "photos of each class to train on (default: all)" },
   val_per_class = { type = "integer", default = 0, help = "photos of each class to measure on (default: all)" },
   seeds = { type = "integer", default = 3, help = "seeds" },
   first_seed = { type = "integer", default = 1, help = "the first of them" },
   epochs = { type = "integer", default = 12, help = "epochs of what trains the body" },
   only = { type = "string", default = "", help = "these arms only, with commas between" },
   advised = { type = "boolean", default = false, help = "the probe and the advice, before the table" },
}

local size = opt.size > 0 and opt.size or nil

local function open()
   local file = io.open(opt.data .. "/train-images-idx3-ubyte.gz")
   if file then
      file:close()
      return graft.data.idx(opt.data, { size = size })
   end
   return graft.data.folder(opt.data, { size = size })
end

local d = open()
if opt.per_class > 0 then
   d = d:take { per_class = opt.per_class, seed = 1 }
end
local test = #d.val > 0 and d.val or d.test
if opt.val_per_class > 0 then
   test = test:take { per_class = opt.val_per_class, seed = 1 }
end

local function sgd(lr)
   return graft.sgd { lr = lr, momentum = 0.9, weight_decay = 1e-4 }
end

local function load()
   return graft.load(opt.weights)
end

local function head_only(net, lr)
   graft.fit(net, d, { epochs = 60, optimizer = graft.adamw { lr = lr }, val = false })
   return net
end

-- The head first, then what `names` says with it: with fixed batch norms at one tenth of the rate, or all alike.
local function tuned(names, alike)
   local net = load():replace_head(d):freeze "body"
   graft.fit(net, d, { epochs = 3, optimizer = sgd(0.01), val = false })
   net:unfreeze { bn = alike and "train" or "fixed", table.unpack(names) }
   net:lr_scale { { "*", alike and 1 or 1 / 10 }, { "head", 1 } }
   graft.fit(net, d, { epochs = opt.epochs, optimizer = sgd(0.01), val = false, clip = 1,
      schedule = graft.one_cycle { warmup = 0.3 } })
   return net
end

local stages = load().stages
local arms = {
   { "head", function()
      return head_only(load():replace_head(d):freeze "body", 1e-3)
   end },
   { "top stage at 1/10", function()
      return tuned { stages[#stages - 1], stages[#stages] }
   end },
   { "everything at 1/10", function()
      return tuned { "body" }
   end },
   { "everything at 1", function()
      return tuned({ "body" }, true)
   end },
}
for i = #stages - 2, #stages - 3, -1 do
   table.insert(arms, { "head at " .. stages[i], function()
      return head_only(load():freeze "*":cut(stages[i]):add_head(d), 1e-2)
   end })
end
table.insert(arms, { "from scratch", function()
   local net = load():replace_head(d):reinit "*":unfreeze "*"
   graft.fit(net, d, { epochs = 2 * opt.epochs, optimizer = sgd(0.02), val = false, clip = 1,
      schedule = graft.cosine { warmup = 0.1 } })
   return net
end })
if opt.only ~= "" then
   local chosen = {}
   for _, arm in ipairs(arms) do
      if ("," .. opt.only .. ","):find("," .. arm[1] .. ",", 1, true) then
         chosen[#chosen + 1] = arm
      end
   end
   assert(#chosen > 0, "--only names none of the arms")
   arms = chosen
end
if opt.advised then
   local probe = graft.probe(load(), d, {})
   local advice = graft.advise(probe)
   print(probe)
   print(advice)
end

local done = {}
local file = io.open(opt.rows)
if file then
   for line in file:lines() do
      local arm, seed, accuracy = line:match "^(.-),(%d+),([%d.]+)"
      if arm then
         done[arm .. "," .. seed] = tonumber(accuracy)
      end
   end
   file:close()
end

for seed = opt.first_seed, opt.first_seed + opt.seeds - 1 do
   for _, arm in ipairs(arms) do
      local key = arm[1] .. "," .. seed
      if not done[key] then
         graft.seed(seed)
         local started = os.time()
         local result = graft.evaluate(arm[2](), test)
         done[key] = result.accuracy
         local rows = assert(io.open(opt.rows, "a"))
         rows:write(("%s,%.5f,%d\n"):format(key, result.accuracy, os.time() - started))
         rows:close()
         collectgarbage()
      end
   end
end

print(("%-22s %8s %8s"):format("arm", "accuracy", "+-"))
for _, arm in ipairs(arms) do
   local sum, squares, n = 0, 0, 0
   for seed = 1, 99 do
      local value = done[arm[1] .. "," .. seed]
      if value then
         sum, squares, n = sum + value, squares + value * value, n + 1
      end
   end
   local mean = sum / n
   local spread = n > 1 and math.sqrt(math.max(0, squares / n - mean * mean) * n / (n - 1) / n) or 0
   print(("%-22s %8.4f %8.4f"):format(arm[1], mean, spread))
end
