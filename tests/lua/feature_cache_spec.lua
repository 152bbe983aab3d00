-- The feature cache as recipes see it: declared modes, the same results, never another mode than asked.

local graft = require "graft"
local core = require "graft.core"
local coloured = require "coloured"

local work = os.tmpname()
os.remove(work)

local function photos()
   return coloured.photos(work, 15, 24)
end

local function network(d)
   return coloured.network(d, 0.1)
end

-- The files of kept features in a run folder.
local function graft_files(folder)
   local files = {}
   for _, name in ipairs(core.list(folder)) do
      files[#files + 1] = name:match("^features%-.*")
   end
   return files
end

local runs = 0
local function fit(d, net, options)
   runs = runs + 1
   options.out = ("%s/run-%d"):format(work, runs)
   options.epochs = options.epochs or 3
   options.batch_size = 5
   require("graft.context").out = nil
   core.fit(0) -- each its own run: the order of photos depends on the ordinal of the fit
   return graft.fit(net, d, options)
end

describe("the feature cache", function()
   local d = photos()

   it("runs a frozen body once, says where, and counts what it served", function()
      local run = fit(d, network(d):freeze("body"), {})
      assert.equal("once", run.cache.mode)
      assert.same({ "pool" }, run.cache.layers)
      assert.equal(24 * 8 * 4, run.cache.bytes)
      assert.equal(3 * 24, run.cache.hits)
   end)

   it("gives the losses and accuracies that training without it gives", function()
      local kept = fit(d, network(d):freeze("body"), {})
      local fresh = fit(d, network(d):freeze("body"), { cache = "none" })
      assert.equal("none", fresh.cache.mode)
      for i, row in ipairs(kept.epochs) do
         assert.near(fresh.epochs[i].train_loss, row.train_loss, 1e-4)
         assert.equal(fresh.epochs[i].val_accuracy, row.val_accuracy)
      end
   end)

   it("keeps only the validation photos where the others are augmented", function()
      local run = fit(d, network(d):freeze("body"), { augment = "light" })
      assert.equal("validation", run.cache.mode)
      assert.equal(9 * 8 * 4, run.cache.bytes)
      assert.equal(3 * 9, run.cache.hits)
   end)

   it("keeps nothing where the photos are augmented and none is for validation", function()
      local run = fit(d, network(d):freeze("body"), { augment = "light", val = false })
      assert.equal("none", run.cache.mode)
   end)

   it("leaves validation photos of another data set out", function()
      local other = graft.data.folder(work .. "/photos", { size = 16 })
      local own = fit(d, network(d):freeze("body"), {})
      local run = fit(d, network(d):freeze("body"), { val = other.val })
      assert.equal("once", run.cache.mode)
      assert.equal(own.cache.bytes * 15 // 24, run.cache.bytes)
      assert.equal(3 * 15, run.cache.hits)
      assert.equal(own.last.val_accuracy, run.last.val_accuracy)
   end)

   it("keeps stored views where that is asked, and epochs take turns", function()
      local run = fit(d, network(d):freeze("body"), { cache = "pool:2", augment = "light", epochs = 5, keep = "last" })
      assert.equal("pool:2", run.cache.mode)
      assert.equal("memory", run.cache.where)
      assert.equal((2 * 15 + 9) * 8 * 4, run.cache.bytes)
      assert.equal(5 * 15 + 5 * 9, run.cache.hits)
      assert.matches("the cache saved 3 passes over the frozen part", tostring(run))
      local again = fit(d, network(d):freeze("body"), { cache = { pool = 2 }, augment = "light", epochs = 5, keep = "last" })
      assert.equal(run.digest, again.digest)
      local fresh = fit(d, network(d):freeze("body"), { augment = "light", epochs = 5, keep = "last" })
      assert.not_equal(run.digest, fresh.digest)
      local other = fit(d, network(d):freeze("body"), { cache = "pool:3", augment = "light", epochs = 5, keep = "last" })
      assert.not_equal(run.digest, other.digest)
   end)

   -- The rates and masks of both runs are the same; only where rows come from differs.
   local function expect_same(one, other)
      for i, row in ipairs(one.epochs) do
         assert.equal(row.train_loss, other.epochs[i].train_loss)
         assert.equal(row.val_loss, other.epochs[i].val_loss)
         assert.equal(row.val_accuracy, other.epochs[i].val_accuracy)
      end
      assert.equal(one.digest, other.digest)
   end

   it("gives the same bits from a file as from memory, and removes it", function()
      for _, options in ipairs { {}, { augment = "light" }, { pool = 2, augment = "light" } } do
         for threads = 1, 2 do
            local function run(memory)
               return fit(d, network(d):freeze("body"), { cache = { pool = options.pool, memory = memory },
                  augment = options.augment, epochs = 4, threads = threads })
            end
            local memory, file = run(1 << 20), run(0)
            assert.equal("memory", memory.cache.where)
            assert.equal("file", file.cache.where)
            assert.equal(memory.cache.mode, file.cache.mode)
            assert.equal(memory.cache.bytes, file.cache.bytes)
            assert.equal(memory.cache.hits, file.cache.hits)
            expect_same(memory, file)
            assert.equal(0, #graft_files(file.out))
         end
      end
   end)

   it("gives the bits of training without it where only validation is kept", function()
      local kept = fit(d, network(d):freeze("body"), { augment = "light" })
      local none = fit(d, network(d):freeze("body"), { augment = "light", cache = "none" })
      assert.equal("validation", kept.cache.mode)
      assert.equal("none", none.cache.mode)
      expect_same(kept, none)
   end)

   it("draws the same views where none can be kept", function()
      local kept = fit(d, network(d):freeze("body"), { cache = "pool:2", augment = "light", epochs = 4 })
      local features = core.features
      core.features = function()
         core.error("file", "features-0.rows: cannot be written: No space left on device")
      end
      local ok, run = pcall(fit, d, network(d):freeze("body"), { cache = "pool:2", augment = "light", epochs = 4 })
      core.features = features
      assert.truthy(ok, tostring(run))
      assert.equal("pool:2", run.cache.mode)
      assert.equal(0, run.cache.bytes)
      assert.equal(0, run.cache.hits)
      for i, row in ipairs(kept.epochs) do
         assert.near(run.epochs[i].train_loss, row.train_loss, 1e-4)
         assert.equal(run.epochs[i].val_accuracy, row.val_accuracy)
      end
   end)

   it("keeps no view that would be used but once, and says so", function()
      local net = network(d):freeze("body")
      local run = fit(d, net, { cache = "pool:3", augment = "light" })
      assert.equal("pool:3", run.cache.mode)
      assert.equal(9 * 8 * 4, run.cache.bytes)
      assert.equal(3 * 9, run.cache.hits)
   end)

   it("refuses a pool that would be another mode in truth", function()
      local function refused(pattern, net, options)
         local ok, failure = pcall(fit, d, net, options)
         assert.equal(false, ok)
         assert.equal("option", failure.kind)
         assert.matches(pattern, tostring(failure))
      end
      local body = network(d):freeze("body")
      refused("nothing augments them", body, { cache = "pool:2" })
      refused("nothing augments them", body, { cache = { pool = 2 }, augment = "none" })
      refused("mixup", body, { cache = "pool:2", augment = { graft.augment.hflip {}, graft.augment.mixup {} } })
      refused("nothing at the bottom", network(d), { cache = "pool:2", augment = "light" })
      for _, wrong in ipairs { "pool", "pool:", "pool:0", "pool:1001", "pool:-1", "pool:2.5", "once", "validation", "" } do
         refused("cache", body, { cache = wrong, augment = "light" })
      end
      refused('nearest: "auto"', body, { cache = "auot" })
      refused("views of a photo", body, { cache = { pool = 0 }, augment = "light" })
      refused("expected integer", body, { cache = { pool = 1.5 }, augment = "light" })
      refused("memory", body, { cache = { memory = -1 } })
      refused('"pool"', body, { cache = { pol = 2 } })
      refused("string or table", body, { cache = 3 })
   end)

   -- ---- what is remembered ----

   it("is found by evaluate and embed, with the same bits", function()
      local net = network(d):freeze("body")
      fit(d, net, {})
      for _, at in ipairs { "pool", "fc", "conv1" } do
         local found, info = graft.embed(net, d.train, { at = at })
         core.forget()
         local fresh, other = graft.embed(net, d.train, { at = at })
         assert.truthy(found == fresh)
         assert.same(info.files, other.files)
         assert.same(info.classes, other.classes)
         assert.equal(15, #info.files)
         fit(d, net, { epochs = 2 })
      end
      local found = graft.evaluate(net, d.val)
      core.forget()
      local fresh = graft.evaluate(net, d.val)
      assert.equal(fresh.loss, found.loss)
      assert.same(fresh.confusion, found.confusion)
   end)

   -- Runs `f` and counts the photos that the frozen part ran over for it.
   local function computed(f)
      local features, count = core.features, 0
      core.features = function(...)
         local made = features(...)
         count = count + (made and made:photos() - made:found() or 0)
         return made
      end
      local ok, result = pcall(f)
      core.features = features
      assert.truthy(ok, tostring(result))
      return count, result
   end

   it("is found by a second fit with the same frozen part", function()
      local net = network(d):freeze("body")
      assert.equal(24, (computed(function()
         return fit(d, net, {})
      end)))
      local count, second = computed(function()
         return fit(d, net, {})
      end)
      assert.equal(0, count)
      assert.equal("once", second.cache.mode)
      assert.equal(3 * 24, second.cache.hits)
      local other = graft.data.folder(work .. "/photos", { size = 16 }) -- listed anew: the same photos
      assert.equal(0, (computed(function()
         return fit(other, net, {})
      end)))
      local handle = require("graft.network").handle(net, "test")
      handle:set("conv2.weight", handle:get("conv2.weight") * 2)
      assert.equal(24, (computed(function()
         return fit(d, net, {})
      end)))
      assert.equal(2 * 15, (computed(function() -- validation photos are there
         return fit(d, net, { cache = "pool:2", augment = "light" })
      end)))
   end)

   it("gives a second fit the bits that computing gives", function()
      local function two(forget)
         local net = network(d):freeze("body")
         fit(d, net, {})
         if forget then
            core.forget()
         end
         return fit(d, net, {})
      end
      expect_same(two(false), two(true))
   end)

   it("is forgotten where memory has a limit", function()
      core.forget()
      core.memory(core.memory().live + (200 << 20))
      local net = network(d):freeze("body")
      local ok, failure = pcall(fit, d, net, {})
      core.memory(0)
      assert.truthy(ok, tostring(failure))
      assert.equal(24, (computed(function()
         return fit(d, net, {})
      end)))
   end)

   it("tells outputs batch by batch, and lets errors through", function()
      local net = network(d):freeze("body")
      local handle, set = require("graft.network").handle(net, "test"), require("graft.data").handle(d.train, "test")
      local n = 0
      core.outputs(handle, set, "conv1", {}, function(x, files, classes)
         n = n + #files
         assert.same({ #files, 8, 16, 16 }, x.shape)
         assert.equal(#files, #classes)
      end)
      assert.equal(15, n)
      assert.error_matches(function()
         core.outputs(handle, set, "conv1", {}, function()
            error("enough", 0)
         end)
      end, "enough")
      assert.error_matches(function()
         core.outputs(handle, set, "conv9", {}, print)
      end, "conv")
      assert.error_matches(function()
         core.outputs(handle, set, "conv1", {}, function()
            handle:close()
         end)
      end, "close")
      net:close()
   end)

   it("pools what several layers make of a set in one pass, and lets errors through", function()
      local net = network(d):freeze("body")
      local handle, set = require("graft.network").handle(net, "test"), require("graft.data").handle(d.train, "test")
      local heard
      local rows, told = core.pooled(handle, set, { "conv1", "fc" }, { pool = "avg+max", progress = function(done, total)
         heard = { done, total }
      end })
      assert.same({ 15, 16 }, rows[1].shape)
      assert.same({ 15, 3 }, rows[2].shape)
      assert.same({ 15, 15 }, heard)
      assert.equal(15, #told.files)
      for i, class in ipairs(told.classes) do
         assert.equal(class, d.classes[told.labels[i]])
         assert.equal(d.train[i].file, told.files[i])
      end
      local x = handle:forward(core.preprocess(handle, told.files[4]), { "conv1" })[1]
      assert.equal(core.pool(x, { pool = "avg+max" }), rows[1]:slice(1, 4, 4))
      assert.equal(x:reshape(8, 256):max(2), rows[1][4]:slice(1, 9, 16))
      assert.truthy((x:reshape(8, 256):mean(2) - rows[1][4]:slice(1, 1, 8)):abs():max() < 1e-6)
      local cells = core.pool(x, { pool = "grid", grid = 3 })
      assert.same({ 1, 72 }, cells.shape) -- cells 1..6, 6..11, 11..16 of 16 pixels: the middle one from 6 to 11
      assert.truthy(math.abs(x:slice(3, 6, 11):slice(4, 6, 11):mean(4):mean(3)[1][2] - cells[1][4 * 8 + 2]) < 1e-6)
      assert.error_matches(function()
         core.pooled(handle, set, { "conv1" }, { progress = function()
            error("enough", 0)
         end })
      end, "enough")
      assert.error_matches(function()
         core.pooled(handle, set, { "conv9" }, {})
      end, "conv")
      assert.error_matches(function()
         core.pooled(handle, set, { "conv1" }, { pool = "grid", grid = 17 })
      end, "relu_1: a grid must have 1 to 16 cells")
      assert.error_matches(function()
         core.pooled(handle, set, { "conv1" }, { progress = function()
            handle:close()
         end })
      end, "close")
      net:close()
   end)

   it("is off where nothing at the bottom is frozen, or where a single epoch would not use it", function()
      assert.equal("none", fit(d, network(d), {}).cache.mode)
      assert.equal("none", fit(d, network(d):freeze("conv2"), {}).cache.mode)
      assert.equal("none", fit(d, network(d):freeze("body"), { epochs = 1 }).cache.mode)
   end)

   it("gives the same bits on every run", function()
      local one = fit(d, network(d):freeze("body"), {})
      local two = fit(d, network(d):freeze("body"), {})
      assert.equal(one.digest, two.digest)
   end)

   it("is seen through by own losses, which still get their batch", function()
      local files = 0
      local ce = graft.nn.cross_entropy {}
      local run = fit(d, network(d):freeze("body"), { loss = function(logits, y, b)
         files = files + #b.files
         return ce(logits, y)
      end })
      assert.equal("once", run.cache.mode)
      assert.truthy(files >= 3 * 15)
   end)

   it("lets the network go when a fit fails", function()
      local net = network(d):freeze("body")
      assert.error_matches(function()
         fit(d, net, { loss = function()
            error("no loss today", 0)
         end })
      end, "no loss today")
      net:close()
   end)

   it("goes away with its folder", function()
      os.execute("rm -rf '" .. work .. "'")
   end)
end)
