-- What departs from the usual arithmetic only where a recipe asks for it: exact kernels, and activations
-- that wait for the backward pass as bfloat16.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)

-- A recipe with a network whose convolution is wide enough for Winograd, and photos for it.
local function recipe(text)
  return helpers.recipe(([[
    local graft = require "graft"
    local opt = graft.options { exact = false, freeze = false, stash = "none", deep = 0 }
    local d = graft.data.folder(%q, { size = 32 })
    local net = graft.nn.network { name = "wide", input = { 3, 32, 32 }, classes = d.classes, head = "fc",
      stages = { "conv1", "conv2" },
      build = function(x)
        x = x:conv2d("conv1", { out = 64, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
        x = x:conv2d("conv2", { out = 64, kernel = 3, padding = 1 }):relu()
        for i = 1, opt.deep do x = x:conv2d("deep" .. i, { out = 64, kernel = 3, padding = 1 }):relu() end
        return x:global_avg_pool("pool"):linear("fc", { out = 3 })
      end }
    if opt.freeze then net:freeze "body" end
    if opt.exact then net:exact() end
  ]]):format(photos) .. text)
end

local fits = recipe [[
  graft.fit(net, d, { epochs = 2, batch_size = 8, optimizer = graft.sgd { lr = 0.01 }, stash = opt.stash })
]]

local function kernels(plan)
  local all = {}
  for _, row in ipairs(plan.layers) do
    all[row.name] = row
  end
  return all
end

describe("exact kernels", function()
  it("are what the plan shows, with the reason", function()
    local usual = kernels(helpers.json { "plan", fits })
    local exact = kernels(helpers.json { "plan", fits, "--exact" })
    assert.equal("winograd", usual.conv2.kernel)
    assert.matches("^winograd [%d.]+ ms, segment [%d.]+ ms$", usual.conv2.why)
    assert.equal("winograd", usual.conv2.candidates[1].kernel)
    assert.is_true(usual.conv2.candidates[1].ms < usual.conv2.candidates[2].ms)
    assert.equal("segment", exact.conv2.kernel)
    assert.matches("the only exact kernel", exact.conv2.why)
    assert.equal("in the same pass as bn1", usual.relu_1.why)
    assert.matches("\nkernels +[^\n]*winograd in 1 layer %([^\n]*with segment", helpers.done({ "plan", fits }).out)
    assert.matches("\nkernels +exact ones only: segment in 2 layers", helpers.done({ "plan", fits, "--exact" }).out)
  end)
  it("give nearly the same numbers", function()
    local text = helpers.done({ "run", recipe [[
      local x = graft.randn(4, 3, 32, 32)
      local usual, exact = net(x), net:exact()(x)
      local again = net:exact(false)(x)
      local largest, difference = exact:abs():max(), (usual - exact):abs():max()
      print("difference", difference > 0 and difference < 1e-5 * largest, (usual - again):abs():max())
    ]] }).out
    assert.matches("difference\ttrue\t0", text)
  end)
  it("are in the lock, in the run, and are not resumed as others", function()
    local out = helpers.fresh "exact"
    local text = helpers.done({ "run", fits, "--exact", "--out", out }).out
    assert.matches("\nkernels +exact ones only\n", text .. helpers.read(out .. "/report.txt"))
    local entry = core.parse_json(helpers.read(out .. "/recipe.lock")).fits[1]
    assert.same({ 1, true, "none", "float32" }, { entry.fit, entry.exact, entry.stash, entry.prefix })
    helpers.refused({ "run", fits, "--out", out, "--resume" }, 3, { "made with other options" })
    helpers.done { "run", fits, "--exact", "--out", out, "--resume" }
  end)
  it("have kept features of their own", function()
    local text = helpers.done({ "run", recipe [[
      net:freeze "body"
      local options = { epochs = 2, batch_size = 8, optimizer = graft.sgd { lr = 1e-9 } }
      local first = graft.fit(net, d, options)
      local made = first.cache.hits
      local a, b = graft.embed(net, d.val, { at = "pool" }), graft.embed(net:exact(), d.val, { at = "pool" })
      print("kept", made > 0, (a - b):abs():max() > 0)
    ]] }).out
    assert.matches("kept\ttrue\ttrue", text)
  end)
  it("can be asked for while loading, and by true or false alone", function()
    local weights = helpers.weights()
    assert.equal("net", helpers.told_by(('graft.load(%q, { exact = true }) print "loaded net"'):format(weights)).loaded)
    helpers.refused({ "run", recipe 'net:exact("yes")' }, 1, { "net:exact: expected boolean" })
  end)
end)

describe("the reference, for measurements alone,", function()
  it("folds and fuses nothing, gives nearly the same numbers, and has kept features of its own", function()
    local text = helpers.done({ "run", "--trust", recipe [[
      net:freeze "body"
      local copy = net:clone():exact()
      local handle = require("graft.network").handle(copy, "test")
      handle:set_reference(true)
      local kinds = {}
      for _, row in ipairs(handle:plan { capacity = 2 }.rows) do kinds[row.name] = tostring(row.kernel) end
      print("norm", kinds.bn1, "relu", kinds.relu_1)
      local x = graft.randn(4, 3, 32, 32)
      local usual, plain = net(x), copy(x)
      local again = copy:clone()(x)
      local difference = (usual - plain):abs():max()
      print("difference", difference > 0 and difference < 1e-4 * plain:abs():max(), (plain - again):abs():max())
      local options = { epochs = 2, batch_size = 8, optimizer = graft.sgd { lr = 1e-9 } }
      graft.fit(net, d, options)
      local a, b = graft.embed(net, d.val, { at = "pool" }), graft.embed(copy, d.val, { at = "pool" })
      print("kept", (a - b):abs():max() > 0)
      print("trained", graft.fit(copy, d, options).epochs_done)
    ]] }).out
    assert.matches("difference\ttrue\t0", text)
    assert.matches("kept\ttrue", text)
    assert.matches("trained\t2", text)
    assert.is_nil(text:find("(folded)", 1, true))
    assert.is_nil(text:find("(fused)", 1, true))
  end)
end)

describe("a stash of bfloat16", function()
  local function train(stash, ...)
    local out = helpers.fresh "stash"
    local document, result = helpers.json { "run", fits, "--stash", stash, "--deep", "2", "--out", out, ... }
    return document, out, result
  end

  it("trains as well, nearly with the same numbers", function()
    local plain, plain_out = train "none"
    local stashed, out = train "bf16"
    local a, b = helpers.csv(plain_out .. "/metrics.csv"), helpers.csv(out .. "/metrics.csv")
    assert.equal("none", plain.stash)
    assert.equal("bf16", stashed.stash)
    assert.is_true(plain.digest ~= stashed.digest)
    for i = 1, 2 do
      local off = math.abs(a[i].train_loss / b[i].train_loss - 1)
      assert.is_true(off < 0.01, ("epoch %d: off by %g"):format(i, off))
    end
    assert.near(plain.last.val_accuracy, stashed.last.val_accuracy, 0.2)
  end)
  it("is printed by plan and run, and is in the lock", function()
    local plan = helpers.json { "plan", fits, "--stash", "bf16", "--deep", "2" }
    local rows = kernels(plan)
    assert.equal("bf16", plan.stash.kind)
    assert.is_true(plan.stash.activations >= 2 and plan.stash.bytes > 0)
    assert.equal("bf16", rows.conv1.stash)
    assert.equal(core.null, rows.fc.stash)
    assert.matches("\nstash +%d activations kept as bf16 for the backward pass, [%d.]+ %a+ instead of ",
      helpers.done({ "plan", fits, "--stash", "bf16", "--deep", "2" }).out)
    assert.is_nil(helpers.done({ "plan", fits }).out:find "\nstash")
    local out = helpers.fresh "stash"
    helpers.done { "run", fits, "--stash", "bf16", "--deep", "2", "--out", out }
    assert.matches("\nstash +activations were kept as bf16", helpers.read(out .. "/report.txt"))
    assert.equal("bf16", core.parse_json(helpers.read(out .. "/recipe.lock")).fits[1].stash)
    helpers.refused({ "run", fits, "--out", out, "--resume" }, 3, { "made with other options" })
  end)
  it("is not used where it would save nothing, and both say so", function()
    local plan = helpers.json { "plan", fits, "--stash", "bf16" }
    assert.same({ "bf16", 0, 0 }, { plan.stash.kind, plan.stash.activations, plan.stash.bytes })
    assert.equal(helpers.json({ "plan", fits }).planned_memory, plan.planned_memory)
    assert.matches("\nstash +activations stay float32: to keep them as bf16 would save no memory\n",
      helpers.done({ "plan", fits, "--stash", "bf16" }).out)
    local _, out, result = train("bf16", "--deep", "0")
    local _, plain = train("none", "--deep", "0")
    assert.matches("\nstash +activations stayed float32: to keep them as bf16 would have saved no memory\n",
      helpers.read(out .. "/report.txt"))
    assert.is_nil(result.err:find "kept as bf16")
    assert.same(helpers.tensors(plain .. "/best.safetensors"), helpers.tensors(out .. "/best.safetensors"))
    local kept = helpers.json { "plan", fits, "--stash", "bf16", "--deep", "2", "--freeze" } -- the head learns from kept features
    assert.equal(0, kept.stash.activations)
  end)
  it("goes on after a kill with the same bits", function()
    local whole, parts = helpers.fresh "whole", helpers.fresh "parts"
    local words = { "run", fits, "--stash", "bf16", "--deep", "2", "--out" }
    helpers.done { "run", fits, "--stash", "bf16", "--deep", "2", "--out", whole }
    helpers.interrupted({ "run", fits, "--stash", "bf16", "--deep", "2", "--out", parts }, { after = "epoch 1/2" })
    words[#words + 1], words[#words + 2] = parts, "--resume"
    helpers.done(words)
    local a, b = helpers.tensors(whole .. "/last.safetensors"), helpers.tensors(parts .. "/last.safetensors")
    for name, tensor in pairs(a) do
      assert.is_true(tensor == b[name], name)
    end
  end)
  it("is an option of a loop of one's own, too", function()
    local text = helpers.done({ "run", recipe [[
      local losses = {}
      for i, stash in ipairs { "none", "bf16" } do
        graft.seed(3)
        local copy = net:clone()
        local tr = graft.trainer(copy, { optimizer = graft.sgd { lr = 0.05 }, stash = stash })
        for x, y in d.train:batches { net = copy, batch_size = 8, epoch = 1 } do
          losses[i] = tr:step(x, y)
        end
      end
      print("losses", losses[1] ~= losses[2], math.abs(losses[1] / losses[2] - 1) < 0.01)
    ]], "--deep", "2" }).out
    assert.matches("losses\ttrue\ttrue", text)
  end)
  it("has names, and says them where another one is given", function()
    for _, call in ipairs { 'graft.fit(net, d, { epochs = 1, stash = "bf15" })', 'graft.trainer(net, { stash = "bf15" })' } do
      helpers.refused({ "run", recipe(call) }, 1, { 'stash must be one of none, bf16, got "bf15"' })
    end
    helpers.refused({ "run", recipe "graft.fit(net, d, { epochs = 1, stash = true })" }, 1, { "stash: expected string" })
  end)
end)
