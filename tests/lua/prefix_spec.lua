-- prefix=: the frozen part in another precision, only where it is named.

local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"

local work = os.tmpname()
os.remove(work)

local function photos()
   for i = 1, 45 do
      local class = ({ "red", "green", "blue" })[i % 3 + 1]
      local folder = ("%s/photos/%s/%s"):format(work, i <= 30 and "train" or "val", class)
      core.make_folder(folder)
      local image = graft.rand(3, 24, 24) * 0.3
      image[i % 3 + 1] = image[i % 3 + 1] + 0.6
      graft.image.save(image, ("%s/%d.png"):format(folder, i))
   end
   return graft.data.folder(work .. "/photos", { size = 16 })
end

local function network(d)
   core.forget()
   graft.seed(5)
   return graft.nn.network { name = "mini", input = { 3, 16, 16 }, classes = d.classes, head = "fc",
      stages = { "conv1", "conv2" },
      build = function(x)
         x = x:conv2d("conv1", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
         x = x:conv2d("conv2", { out = 8, kernel = 3, padding = 1, stride = 2 }):relu()
         return x:global_avg_pool("pool"):linear("fc", { out = 3 })
      end }
end

local runs = 0
local function fit(d, net, options)
   runs = runs + 1
   options.out = ("%s/run-%d"):format(work, runs)
   options.epochs, options.batch_size = options.epochs or 12, 10
   options.optimizer = graft.sgd { lr = 0.3, momentum = 0.9 }
   require("graft.context").out = nil
   core.fit(0)
   return graft.fit(net, d, options)
end

describe("prefix=", function()
   local d = photos()

   it("is float32 unless another is named, and says so", function()
      local run = fit(d, network(d):freeze("body"), { epochs = 2 })
      assert.equal("float32", run.prefix)
      assert.is_nil(run.float32)
      assert.is_nil(tostring(run):find("bf16", 1, true))
      local lock = core.parse_json(core.read(run.out .. "/recipe.lock"))
      assert.same({ precision = "float32", native = true }, lock.prefix)
      assert.equal("float32", lock.fits[#lock.fits].prefix)
   end)

   for name, bound in pairs { bf16 = 1e-2, int8 = 5e-2 } do
      it("trains and validates a head on a frozen part in " .. name .. ", with the accuracy in float32 beside it", function()
         local exact = fit(d, network(d):freeze("body"), {})
         local run = fit(d, network(d):freeze("body"), { prefix = name })
         assert.equal(name, run.prefix)
         assert.equal(15, run.float32.count)
         assert.near(exact.best.val_accuracy, run.best.val_accuracy, 1 / 15 + 1e-9)
         assert.near(run.evaluation.accuracy, run.float32.accuracy, 1 / 15 + 1e-9)
         assert.is_true(run.evaluation.loss ~= run.float32.loss)
         assert.is_true(tostring(run):find("prefix +the frozen part in " .. name .. ".*accuracy with all in float32: ") ~= nil)
         local lock = core.parse_json(core.read(run.out .. "/recipe.lock"))
         assert.same({ precision = name, native = core.native(name) }, lock.prefix)
         assert.equal(name, lock.fits[#lock.fits].prefix)
         assert.equal(name, require("graft.run").json(run).prefix)
         assert.equal(run.float32.accuracy, require("graft.run").json(run).float32.val_accuracy)
      end)

      it(name .. " gives the same losses whether features are kept or not, other ones than float32", function()
         local kept = fit(d, network(d):freeze("body"), { prefix = name, epochs = 3 })
         local fresh = fit(d, network(d):freeze("body"), { prefix = name, epochs = 3, cache = "none" })
         local exact = fit(d, network(d):freeze("body"), { epochs = 3 })
         for i, row in ipairs(kept.epochs) do
            assert.near(fresh.epochs[i].train_loss, row.train_loss, 1e-4)
            assert.near(exact.epochs[i].train_loss, row.train_loss, bound)
            assert.is_true(exact.epochs[i].train_loss ~= row.train_loss)
         end
      end)

      it(name .. " does not take features of another precision for its own", function()
         local net = network(d):freeze("body")
         local exact = graft.evaluate(net, d.val)
         local reduced = graft.evaluate(net, d.val, { prefix = name })
         assert.is_true(exact.loss ~= reduced.loss)
         assert.near(exact.loss, reduced.loss, bound)
         local e, r = graft.embed(net, d.val, { at = "pool" }), graft.embed(net, d.val, { at = "pool", prefix = name })
         local error = (((e - r) * (e - r)):sum() / (e * e):sum()) ^ 0.5
         assert.is_true(error > 0 and error < bound)
         local below = graft.embed(net, d.val, { at = "conv1", prefix = name })
         fit(d, net, { epochs = 2, prefix = name }) -- which remembers its rows
         local function same(a, b)
            return (a - b):abs():max() == 0
         end
         assert.is_true(same(e, graft.embed(net, d.val, { at = "pool" })))
         assert.is_true(same(r, graft.embed(net, d.val, { at = "pool", prefix = name })))
         assert.is_true(same(below, graft.embed(net, d.val, { at = "conv1", prefix = name }))) -- not made of rows
      end)
   end

   it("is told by the plan, layer by layer", function()
      local job = require("graft.fit").prepare(network(d):freeze("body"), d, { prefix = "bf16", epochs = 2 })
      local rows = job.handle:plan { capacity = 10, training = true, prefix = job.options.prefix }.rows
      assert.equal("segment bf16", rows[1].kernel)
      for _, row in ipairs(job.handle:plan { capacity = 10, training = true }.rows) do
         assert.is_nil(row.kernel:find("bf16", 1, true))
      end
   end)

   it("refuses what it cannot mean", function()
      local net = network(d)
      assert.error_matches(function() graft.fit(net, d, { prefix = "bf16" }) end, "nothing at the bottom of this one is frozen")
      assert.error_matches(function() graft.evaluate(net, d.val, { prefix = "bf16" }) end, "nothing at the bottom")
      net:freeze("body")
      assert.error_matches(function() graft.fit(net, d, { prefix = "fp16" }) end, 'prefix must be "float32"')
      assert.error_matches(function() graft.embed(net, { d.val[1].file }, { prefix = "bf16" }) end, "not for a list of files")
      net:exact()
      for _, call in ipairs { graft.fit, graft.plan } do
         assert.error_matches(function() call(net, d, { prefix = "bf16" }) end, "exclude each other: exact kernels are float32")
      end
      assert.error_matches(function() graft.evaluate(net, d.val, { prefix = "bf16" }) end, "exclude each other")
      assert.equal("float32", fit(d, net, { epochs = 1 }).prefix)
   end)

   it("is measured by graft bench, for inference alone", function()
      local function bench(...)
         return { "bench", "--model", "fashion", "--batch", "2", "--runs", "2", "--threads", "1", ... }
      end
      for _, name in ipairs { "bf16", "int8" } do
         local row = helpers.json(bench("--case", "inference", "--prefix", name, "--layers"))[1]
         assert.equal(name, row.prefix)
         local found = false
         for _, layer in ipairs(row.layers) do
            found = found or layer.kernel == "segment " .. name
         end
         assert.is_true(found)
      end
      assert.equal("float32", helpers.json(bench("--case", "inference"))[1].prefix)
   end)
end)
