-- The feature cache as recipes see it: declared modes, the same results, never another mode than asked.

local graft = require "graft"
local core = require "graft.core"

local work = os.tmpname()
os.remove(work)

local function photos()
   for i = 1, 24 do
      local class = ({ "red", "green", "blue" })[i % 3 + 1]
      local folder = ("%s/photos/%s/%s"):format(work, i <= 15 and "train" or "val", class)
      core.make_folder(folder)
      local image = graft.rand(3, 24, 24) * 0.3
      image[i % 3 + 1] = image[i % 3 + 1] + 0.6
      graft.image.save(image, ("%s/%d.png"):format(folder, i))
   end
   return graft.data.folder(work .. "/photos", { size = 16 })
end

local function network(d)
   graft.seed(5)
   return graft.nn.network { name = "mini", input = { 3, 16, 16 }, classes = d.classes, head = "fc",
      stages = { "conv1", "conv2" },
      build = function(x)
         x = x:conv2d("conv1", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
         x = x:conv2d("conv2", { out = 8, kernel = 3, padding = 1, stride = 2 }):relu()
         return x:global_avg_pool("pool"):dropout(0.1):linear("fc", { out = 3 })
      end }
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
