-- Scratch or pretrained: the same network both ways, with several budgets, seeds and tuned rates, and an honest verdict.
--
--    graft run scratch_or_pretrained --data photos/ --weights resnet18.pth --hours 2
--
-- On 25, 250 and 5,000 photos a class of four kinds of clothes, with a network that learnt on six other kinds: see README.md.
--
-- A verdict, its rule and the curves go into report.html of the run folder. What is finished is kept: --resume goes on.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class; or a folder of IDX files" },
   weights = { type = "file", help = "pretrained weights" },
   classes = { type = "string", default = "", help = "some of the classes only, with commas between" },
   per_class = { type = "integer", default = 0, min = 0, help = "photos of each class to train on (0: all)" },
   val_per_class = { type = "integer", default = 0, min = 0, help = "photos of each class to validate with (0: all)" },
   size = { type = "integer", default = 0, min = 0, help = "pixels a side (0: as the network has it)" },
   epochs = { type = "string", default = "10,30,100", help = "budgets, with commas between" },
   rates = { type = "string", default = "0.003,0.01,0.03", help = "learning rates to be tried on each arm" },
   seeds = { type = "integer", default = 3, min = 1, help = "seeds" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   hours = { type = "number", default = 2.0, help = "budget of time" },
}

local function list_of(text, convert)
   local list = {}
   for part in text:gmatch "[^,]+" do
      list[#list + 1] = convert(part)
   end
   return list
end

local function number(text)
   return assert(tonumber(text), "expected numbers with commas between, got " .. text)
end

local function whole(text)
   return assert(math.tointeger(number(text)), "expected whole numbers with commas between, got " .. text)
end

local choices = { size = opt.size > 0 and opt.size or nil, classes = opt.classes ~= "" and list_of(opt.classes, tostring) or nil }
local is_idx, d = pcall(graft.data.idx, opt.data, choices)
if not is_idx and (d.kind == "name" or d.kind == "option") then -- it is one, and --classes or --size is wrong
   error(d, 0)
elseif not is_idx then
   d = graft.data.folder(opt.data, choices)
end
if opt.per_class > 0 then
   d = d:take { per_class = opt.per_class, seed = 1 }
end
local val = #d.val > 0 and d.val or d.test
if opt.val_per_class > 0 then
   val = val:take { per_class = opt.val_per_class, seed = 1 }
end

local s = graft.study {
   vary = { { "init", { "pretrained", "random" } }, { "epochs", list_of(opt.epochs, whole) } },
   tune = { lr = list_of(opt.rates, number) },
   seeds = { table.unpack({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 1, opt.seeds) },
   budget = opt.hours * 3600,
   trial = function(c)
      local net = graft.load(opt.weights):replace_head(d)
      if c.init == "random" then
         net:reinit("*")
      else
         net:lr_scale { { "*", 1 / 10 }, { "head", 1 } } -- the usual care for weights that know something already
      end
      return graft.fit(net, d, {
         val = val,
         epochs = c.epochs,
         batch_size = math.min(opt.batch_size, #d.train),
         schedule = graft.cosine { warmup = 0.05 },
         optimizer = graft.sgd { lr = c.lr, momentum = 0.9, weight_decay = 1e-4 },
      })
   end,
}
print(s)
graft.report(s, graft.out("study.html"))
