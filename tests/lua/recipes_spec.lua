-- The standard library's pure parts: options of recipes, descriptions, strict reads, building networks.

local graft = require "graft"
local core = require "graft.core"
local options = require "graft.options"
local context = require "graft.context"
local format = require "graft.format"

local function declare(args, declared)
   return options.declare(declared, { args = args, who = "test.lua" })
end

local function failure(f, ...)
   local ok, e = pcall(f, ...)
   assert.equal(false, ok)
   return e
end

describe("graft.options", function()
   it("gives defaults, and values of the declared types", function()
      local opt = declare({ "--epochs", "7", "--batch-size=4", "--flag" }, { epochs = 20, batch_size = 32, lr = 0.5,
         flag = false, data = { type = "folder" } })
      assert.equal(7, opt.epochs)
      assert.equal("integer", math.type(opt.epochs))
      assert.equal(4, opt.batch_size)
      assert.equal(0.5, opt.lr)
      assert.equal(true, opt.flag)
      assert.equal(nil, opt.data)
   end)

   it("refuses unknown and malformed options as usage errors, with the nearest name", function()
      local e = failure(declare, { "--epoch", "3" }, { epochs = 20 })
      assert.equal(true, e.usage)
      assert.equal("epochs", e.near)
      assert.error_matches(function()
         declare({ "--epochs", "many" }, { epochs = 20 })
      end, "whole number")
      assert.error_matches(function()
         declare({ "--epochs" }, { epochs = 20 })
      end, "needs a value")
      assert.error_matches(function()
         declare({ "--mode", "fats" }, { mode = { choices = { "fast", "slow" } } })
      end, "nearest: \"fast\"")
      assert.error_matches(function()
         declare({ "--n", "11" }, { n = { type = "integer", min = 1, max = 10 } })
      end, "1 to 10")
   end)

   it("raises when an undeclared option is read (C12)", function()
      local opt = declare({}, { epochs = 20 })
      assert.equal("epochs", failure(function()
         return opt.epoch
      end).near)
   end)

   it("keeps the names that belong to graft itself", function()
      assert.error_matches(function()
         declare({}, { seed = 3 })
      end, "belongs to graft")
   end)
end)

describe("descriptions", function()
   it("hold PyTorch's defaults and cannot be changed", function()
      local sgd = graft.sgd { lr = 0.1 }
      assert.equal(0, sgd.momentum)
      assert.equal("sgd lr 0.1", tostring(sgd))
      assert.error_matches(function()
         sgd.lr = 3
      end, "cannot be changed")
   end)

   it("need lr above zero, and point to freeze", function()
      assert.error_matches(function()
         graft.sgd {}
      end, "lr is required")
      assert.error_matches(function()
         graft.adamw { lr = 0 }
      end, "freeze")
      assert.error_matches(function()
         graft.sgd { lr = 1, momentun = 0.9 }
      end, "nearest: \"momentum\"")
   end)
end)

describe("strict reads", function()
   it("raise for unknown fields of graft, with the nearest name", function()
      assert.equal("load", failure(function()
         return graft.laod
      end).near)
   end)

   it("format numbers as people read them", function()
      assert.equal("9,408", format.count(9408))
      assert.equal("[64,7,7]", format.shape { 64, 7, 7 })
      assert.equal("0.01", format.rate(0.01))
      local low, high = format.interval(57, 60)
      assert.near(0.863, low, 0.002)
      assert.near(0.983, high, 0.002)
      assert.equal("a   1\nbb  22", format.columns({ { "a", "1" }, { "bb", "22" } }, "ll"))
   end)
end)

describe("graft.nn.network", function()
   local function small(classes)
      return graft.nn.network { name = "small", input = { 3, 16, 16 }, classes = classes or { "a", "b", "c" },
         head = "fc", stages = { "conv1", "layer1" },
         build = function(x)
            x = x:conv2d("conv1", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
            local y = x:conv2d("layer1.conv", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("layer1.bn")
            x = (x + y):relu():max_pool { kernel = 2 }
            return graft.nn.concat { x, x * x:sigmoid() }:global_avg_pool():dropout(0.2):linear("fc", { out = 3 })
         end }
   end

   it("infers shapes while it is recorded, and runs", function()
      local net = small()
      assert.same({ 2, 3 }, net:forward(graft.randn(2, 3, 16, 16)).shape)
      assert.same({ "conv1", "layer1" }, net.stages)
      assert.equal("fc", net.head)
   end)

   it("names both recipe lines when a name is used twice", function()
      local e = failure(graft.nn.network, { name = "twice", input = { 3, 8, 8 }, head = "fc",
         build = function(x)
            x = x:conv2d("a", { out = 4, kernel = 1 })
            x = x:conv2d("a", { out = 4, kernel = 1 })
            return x:global_avg_pool():linear("fc", { out = 2 })
         end })
      assert.equal(2, select(2, tostring(e):gsub("recipes_spec.lua:%d+", "")) >= 2 and 2 or 0)
   end)

   it("refuses unknown layers and options with the nearest name", function()
      assert.error_matches(function()
         graft.nn.network { input = { 3, 8, 8 }, head = "fc", build = function(x)
            return x:conv2("a", {})
         end }
      end, "nearest: \"conv2d\"")
      assert.error_matches(function()
         graft.nn.network { input = { 3, 8, 8 }, head = "fc", build = function(x)
            return x:conv2d("a", { out = 3, kernal = 3 })
         end }
      end, "kernel")
   end)

   it("freezes, unfreezes and scales by names, subtrees and words", function()
      local net = small():freeze("body")
      assert.equal(16 * 3 + 3, net:parameters(true))
      net:unfreeze("layer1"):lr_scale { { "*", 1 / 10 }, { "head", 1 } }
      local scales = {}
      for name, layer in net:layers() do
         scales[name] = layer.lr_scale
      end
      assert.near(0.1, scales["layer1.conv"], 1e-6)
      assert.near(1, scales.fc, 1e-6)
      assert.error_matches(function()
         net:freeze("layr1")
      end, "nearest: \"layer1\"")
      assert.error_matches(function()
         net:unfreeze(table.unpack({}))
      end, "no layer is named")
      assert.error_matches(function()
         net:lr_scale { { "*", 0 } }
      end, "freeze")
   end)

   it("explains that there are no modes (C8)", function()
      assert.error_matches(function()
         small():eval()
      end, "always inference")
   end)

   it("cuts, clones and replaces heads without touching the original (C7)", function()
      local net = small()
      local before = net:digest()
      local cut = net:cut("layer1"):add_head { "x", "y" }
      assert.same({ 1, 2 }, cut(graft.randn(1, 3, 16, 16)).shape)
      local clone = net:clone():replace_head { "p", "q" }
      assert.same({ "p", "q" }, clone.classes)
      assert.equal(before, net:digest())
   end)

   it("adds auxiliary classifiers that forward can show", function()
      local net = small():add_aux("layer1", { weight = 0.3, hidden = 4 })
      local heads = net:forward(graft.randn(2, 3, 16, 16), { heads = true })
      assert.same({ 2, 3 }, heads.head.shape)
      assert.same({ 2, 3 }, heads.layer1.shape)
      net:remove_aux()
   end)

   it("gives features of named layers", function()
      local net = small()
      local f = net:features(graft.randn(2, 3, 16, 16), { "conv1", "layer1" })
      assert.same({ 2, 8, 16, 16 }, f.conv1.shape)
      assert.equal("layer1", failure(function()
         net:features(graft.randn(1, 3, 16, 16), "layr1")
      end).near)
   end)

   it("saves and loads with classes and architecture", function()
      local net = small { "ants", "bees", "wasps" }
      local path = os.tmpname()
      net:save(path)
      context.quiet = true
      local back = graft.load(path)
      os.remove(path)
      assert.equal(net:digest(), back:digest())
      assert.same({ "ants", "bees", "wasps" }, back.classes)
   end)
end)

describe("an unknown architecture", function()
   it("is an error that lists the known ones", function()
      assert.equal("resnet18", failure(function()
         return graft.models.resnet81
      end).near)
      assert.equal(true, core.is_error(failure(graft.load, "/does/not/exist.pth")))
   end)
end)
