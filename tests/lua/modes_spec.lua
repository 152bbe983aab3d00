-- What departs from the usual arithmetic only where a recipe asks for it: exact kernels.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)

-- A recipe with a network whose convolution is wide enough for Winograd, and photos for it.
local function recipe(text)
  return helpers.recipe(([[
    local graft = require "graft"
    local opt = graft.options { exact = false, freeze = false }
    local d = graft.data.folder(%q, { size = 32 })
    local net = graft.nn.network { name = "wide", input = { 3, 32, 32 }, classes = d.classes, head = "fc",
      stages = { "conv1", "conv2" },
      build = function(x)
        x = x:conv2d("conv1", { out = 64, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
        x = x:conv2d("conv2", { out = 64, kernel = 3, padding = 1 }):relu()
        return x:global_avg_pool("pool"):linear("fc", { out = 3 })
      end }
    if opt.freeze then net:freeze "body" end
    if opt.exact then net:exact() end
  ]]):format(photos) .. text)
end

local fits = recipe 'graft.fit(net, d, { epochs = 2, batch_size = 8, optimizer = graft.sgd { lr = 0.01 } })'

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
    assert.same({ { fit = 1, exact = true } }, core.parse_json(helpers.read(out .. "/recipe.lock")).fits)
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
