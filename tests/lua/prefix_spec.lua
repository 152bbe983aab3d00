-- prefix=: the frozen part in another precision, only where it is named.

local graft = require "graft"
local core = require "graft.core"
local coloured = require "coloured"
local helpers = require "helpers"

local work = os.tmpname()
os.remove(work)

local function photos()
   return coloured.photos(work, 30, 45)
end

local function network(d)
   return coloured.network(d)
end

local function network_is_frozen(net)
   for _, row in ipairs(require("graft.network").handle(net, "test"):layers()) do
      if row.frozen then
         return true
      end
   end
   return false
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

   for name, bound in pairs { bf16 = 1e-2, int8 = 5e-2 } do
      it("is for loops of one's own too: " .. name, function()
         local losses, results = {}, {}
         for _, precision in ipairs { "float32", name } do
            local net = network(d):freeze("body")
            local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 }, prefix = precision, data = d })
            local list = {}
            for x, y in d.train:batches { net = net, batch_size = 10, epoch = 1 } do
               list[#list + 1] = tr:step(x, y)
            end
            losses[precision], results[precision] = list, tr:evaluate(d.val)
            assert.equal(results[precision].loss, graft.evaluate(net, d.val, { prefix = precision }).loss)
         end
         for i, loss in ipairs(losses.float32) do
            assert.near(loss, losses[name][i], bound)
            assert.is_true(loss ~= losses[name][i])
         end
         assert.near(results.float32.loss, results[name].loss, bound)
      end)

      it("follows what is unfrozen between the steps: " .. name, function()
         local net = network(d):freeze("body")
         local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 }, prefix = name, data = d })
         local x, y = d.train:batches({ net = net, batch_size = 10, epoch = 1 })()
         tr:step(x, y)
         local before = net:digest()
         net:unfreeze("conv2")
         assert.is_number(tr:step(x, y))
         assert.is_true(net:digest() ~= before)
         net:unfreeze("*") -- nothing is left to compute otherwise
         local plain = graft.trainer(net:clone(), { optimizer = graft.sgd { lr = 0.1 } })
         assert.equal(plain:step(x, y), tr:step(x, y))
         assert.is_number(tr:evaluate(d.val).loss)
      end)
   end

   it("of a loop of one's own refuses what it cannot mean", function()
      local net = network(d)
      local function refused(options, pattern)
         options.optimizer = graft.sgd { lr = 0.1 }
         assert.error_matches(function() graft.trainer(net, options) end, pattern)
      end
      refused({ prefix = "bf16" }, "graft.trainer: prefix = \"bf16\" is for the frozen part")
      net:freeze("body")
      refused({ prefix = "fp16" }, 'graft.trainer: prefix must be "float32"')
      refused({ prefix = "int8" }, "takes its ranges from photos to train on: data = d")
      refused({ prefix = "int8", data = {} }, "option data: expected a data set")
      local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 }, prefix = "int8", data = d })
      assert.error_matches(function() tr:step(graft.rand(2, 3, 20, 20), { "red", "blue" }) end,
         "calibrated for int8 on photos %[3,16,16%], not %[3,20,20%]")
   end)

   it("is for the first phase of graft.fine_tune, whose other options reach both", function()
      local net = network(d)
      require("graft.context").out = nil
      core.fit(0)
      local out = work .. "/fine"
      local run = graft.fine_tune(net, d, { epochs = 4, batch_size = 10, prefix = "bf16", stash = "bf16", cache = "none",
         keep = "last", out = out })
      local lock = core.parse_json(core.read(out .. "/recipe.lock"))
      local fits = lock.fits
      assert.same({ "bf16", "bf16" }, { fits[#fits - 1].stash, fits[#fits].stash })
      assert.same({ "bf16", "float32" }, { fits[#fits - 1].prefix, fits[#fits].prefix })
      assert.same({ "none", "last", 4 }, { run.cache.mode, run.kept, run.epochs_done })
   end)

   it("and the others are checked by graft.fine_tune before anything is changed", function()
      local net = network(d)
      local version = net:digest()
      local function refused(options, pattern)
         assert.error_matches(function() graft.fine_tune(net, d, options) end, "graft.fine_tune.*" .. pattern)
         assert.is_false(network_is_frozen(net))
         assert.equal(version, (net:digest()))
      end
      refused({ stahs = "bf16" }, 'no option "stahs"; nearest: "stash"')
      refused({ stash = "bf15" }, 'stash must be one of none, bf16, got "bf15"')
      refused({ prefix = "bf15" }, 'prefix must be "float32"')
      refused({ monitor = "val_acc" }, "monitor must be one of val_accuracy")
      refused({ keep = "first" }, "keep must be one of best, last")
      refused({ patience = 0 }, "patience must be at least 1")
      refused({ bn = "train" }, 'no option "bn"')
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
