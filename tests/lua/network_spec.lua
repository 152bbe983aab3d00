-- Networks through the core: building, looking, surgery, running, saving.
require "graft"
local core = require "graft.core"
local tensor = core.tensor

local function tiny()
  local net = core.network("tiny", { 3, 16, 16 }, { mean = { 0.5 }, std = { 0.25 } }, 1)
  net:add("conv2d", "conv1", { out = 8, kernel = 3, padding = 1, bias = false }, { "input" })
  net:add("batch_norm", "bn1", nil, { "conv1" })
  net:add("relu", "relu1", nil, { "bn1" })
  net:add("conv2d", "layer1.conv", { out = 12, kernel = 3, stride = 2, padding = 1, bias = false }, { "relu1" })
  net:add("batch_norm", "layer1.bn", nil, { "layer1.conv" })
  net:add("relu", "layer1.relu", nil, { "layer1.bn" })
  net:add("global_avg_pool", "pool", nil, { "layer1.relu" })
  net:add("linear", "fc", { out = 4 }, { "pool" })
  net:finish { output = "fc", head = "fc", stages = { "conv1", "layer1" } }
  return net:set_classes { "ants", "bees", "cats", "dogs" }
end

local function row(net, name)
  for _, layer in ipairs(net:layers()) do
    if layer.name == name then
      return layer
    end
  end
end

describe("building a network", function()
  it("tells names and shapes as it grows", function()
    local net = core.network("n", { 3, 8, 8 })
    local name, shape = net:add("conv2d", "c", { out = 5, kernel = 3 }, { "input" })
    assert.equal("c", name)
    assert.same({ 5, 6, 6 }, shape)
    assert.same({ 5 }, select(2, net:add("global_avg_pool", nil, nil, { "c" })))
  end)

  it("refuses what does not fit, naming the layer and the nearest name", function()
    local net = core.network("n", { 3, 8, 8 })
    assert.error_matches(function() net:add("conv3d", "c", { out = 1, kernel = 3 }, { "input" }) end, 'nearest: "conv2d"')
    assert.error_matches(function() net:add("conv2d", "c", { outs = 1, kernel = 3 }, { "input" }) end, '"c".*outs')
    assert.error_matches(function() net:add("conv2d", "c", { out = 1, kernel = 3 }, { "inputs" }) end, 'nearest: "input"')
    assert.error_matches(function() net:add("conv2d", "c", { out = 1, kernel = 30 }, { "input" }) end, '"c"')
    net:add("relu", "r", nil, { "input" })
    assert.error_matches(function() net:add("relu", "r", nil, { "input" }) end, '"r"')
    assert.error_matches(function() net:finish { output = "x" } end, '"x"')
    assert.error_matches(function() net:finish { outputs = "x" } end, 'nearest: "output"')
  end)

  it("lists the kinds that there are", function()
    local found
    for _, kind in ipairs(core.kinds()) do
      found = found or kind.name == "conv2d" and kind
    end
    assert.equal("out", found.options[1].name)
    assert.is_true(found.options[1].required)
  end)
end)

describe("looking at a network", function()
  it("tells layers, tensors and counts", function()
    local net = tiny()
    assert.equal("tiny", net:name())
    assert.equal("fc", net:head())
    assert.same({ "conv1", "layer1" }, net:stages())
    assert.same({ 4 }, net:output_shape())
    assert.equal(8, #net:layers())
    assert.equal("layer1", row(net, "layer1.relu").stage)
    assert.is_true(row(net, "fc").head)
    assert.same({ "fc.weight", "fc.bias" }, row(net, "fc").tensors)
    assert.equal(3 * 8 * 9 + 16 + 8 * 12 * 9 + 24 + 52, net:parameters())
    assert.same({ "layer1.conv", "layer1.bn", "layer1.relu" }, net:choose("layer1"))
    assert.equal("layer1.relu", net:layer_end("layer1"))
    assert.near(0.25, net:preprocessing().std[3])
  end)

  it("gives tensors as copies and takes them in their shape", function()
    local net = tiny()
    local before = net:digest()
    local weight = net:get("fc.weight")
    weight[1][1] = 42
    assert.equal(before, (net:digest()))
    net:set("fc.weight", weight)
    assert.not_equal(before, (net:digest()))
    assert.equal(42, net:get("fc.weight")[1][1])
    assert.error_matches(function() net:set("fc.weight", tensor.zeros(2, 2)) end, "%[4,12%]")
    assert.error_matches(function() net:get("fc.wieght") end, 'nearest: "fc.weight"')
  end)

  it("names the nearest method", function()
    assert.error_matches(function() return tiny().freze end, 'nearest: "freeze"')
  end)

  it("ends when it is closed", function()
    local net <close> = tiny()
    net:close()
    net:close()
    assert.is_true(net:closed())
    assert.error_matches(function() net:name() end, "closed")
  end)
end)

describe("surgery", function()
  it("freezes, unfreezes and scales by patterns", function()
    local net = tiny():freeze("body")
    assert.is_true(row(net, "conv1").frozen)
    assert.is_false(row(net, "fc").frozen)
    assert.equal(52, net:parameters(true))
    net:unfreeze { "layer1" }:lr_scale { { "*", 0.1 }, { "head", 1 } }
    assert.near(0.1, row(net, "layer1.conv").lr_scale)
    assert.equal(1.0, row(net, "fc").lr_scale)
    assert.error_matches(function() net:freeze("layr1") end, 'net:freeze: .*nearest: "layer1"')
    assert.error_matches(function() net:freeze {} end)
    assert.error_matches(function() net:lr_scale { { "*", 0 } } end, "freeze")
    assert.error_matches(function() net:lr_scale { "*" } end, "rule 1")
  end)

  it("replaces the head and leaves the body as it was", function()
    local net = tiny()
    local body = net:get("layer1.conv.weight")
    net:replace_head({ "x", "y" }, { hidden = 6 })
    assert.same({ 2 }, net:output_shape())
    assert.same({ "x", "y" }, net:classes())
    assert.is_true(net:get("layer1.conv.weight") == body)
    assert.error_matches(function() net:replace_head({}) end)
    assert.error_matches(function() net:replace_head({ "x", "y" }, { hiden = 1 }) end, 'nearest: "hidden"')
  end)

  it("cuts and clones without sharing anything", function()
    local net = tiny()
    local digest = net:digest()
    local cut = net:cut("conv1"):add_head({ "a", "b" }, {})
    assert.same({ 2 }, cut:output_shape())
    local clone = net:clone()
    assert.equal(digest, (clone:digest()))
    clone:reinit("*")
    assert.equal(digest, (net:digest()))
    assert.same({ 3, 2 }, cut:forward(tensor.randn(3, 3, 16, 16)).shape)
  end)

  it("adds and removes auxiliary classifiers", function()
    local net = tiny():add_aux("conv1", { weight = 0.5 })
    assert.equal("conv1", net:aux()[1].at)
    assert.equal(0.5, net:aux()[1].weight)
    assert.same({}, net:remove_aux():aux())
  end)
end)

describe("running a network", function()
  it("gives the same for a photo whatever the batch it came in", function()
    local net = tiny()
    local x = tensor.randn(70, 3, 16, 16)
    local all = net:forward(x)
    assert.same({ 70, 4 }, all.shape)
    for _, i in ipairs { 1, 33, 70 } do
      assert.near(all[i]:table(), net:forward(x:slice(1, i, i))[1]:table(), 1e-5)
    end
  end)

  it("gives features in users' order", function()
    local net = tiny()
    local x = tensor.randn(2, 3, 16, 16)
    local maps, logits = table.unpack(net:forward(x, { "layer1", "fc" }))
    assert.same({ 2, 12, 8, 8 }, maps.shape)
    assert.near(net:forward(x):table(), logits:table(), 1e-5)
    local mean = maps:mean(4):mean(3)
    local again = mean:matmul(net:get("fc.weight"):t()) + net:get("fc.bias")
    assert.near(logits:table(), again:table(), 1e-4)
  end)

  it("takes strided photos and other sizes", function()
    local net = tiny()
    local x = tensor.randn(2, 3, 20, 24)
    local turned = x:transpose(3, 4)
    assert.near(net:forward(turned):table(), net:forward(turned:contiguous()):table(), 0)
    assert.same({ 2, 4 }, net:forward(x).shape)
  end)

  it("sees changes of weights and layers at once", function()
    local net = tiny()
    local x = tensor.randn(1, 3, 16, 16)
    net:forward(x)
    net:set("fc.weight", tensor.zeros(4, 12)):set("fc.bias", tensor.tensor { 1, 2, 3, 4 })
    assert.near({ { 1, 2, 3, 4 } }, net:forward(x):table())
    net:replace_head({ "a", "b" }, {})
    assert.same({ 1, 2 }, net:forward(x).shape)
  end)

  it("refuses other photos", function()
    local net = tiny()
    assert.error_matches(function() net:forward(tensor.zeros(3, 16, 16)) end, "preprocess")
    assert.error_matches(function() net:forward(tensor.zeros(1, 1, 16, 16)) end, "%[N,3,H,W%]")
    assert.error_matches(function() net:forward(3) end, "must be a tensor")
    assert.error_matches(function() net:forward(tensor.zeros(1, 3, 16, 16), { "layer9" }) end, 'nearest: "layer1"')
    assert.error_matches(function() net:forward(tensor.zeros(1, 3, 16, 16), {}) end, "at least one")
  end)

  it("explains its plan", function()
    local plan = tiny():freeze("body"):plan { capacity = 4, training = true }
    assert.equal(8, #plan.rows)
    assert.is_true(plan.memory >= plan.arena and plan.arena > 0)
    assert.equal("fixed", plan.rows[2].batch_norm)
    assert.error_matches(function() tiny():plan { capcity = 4 } end, 'nearest: "capacity"')
  end)

  it("agrees with finite differences in one step", function()
    local net = tiny():freeze("body")
    local x, gy = tensor.randn(2, 3, 16, 16), tensor.randn(2, 4)
    local gradient = net:step_gradient(x, gy)
    assert.same({ 2, 3, 16, 16 }, gradient.gx.shape)
    assert.is_nil(gradient["conv1.weight"])
    local function value(weight)
      return (net:set("fc.weight", weight):forward(x) * gy):sum()
    end
    local weight = net:get("fc.weight")
    for _, at in ipairs { { 1, 1 }, { 4, 12 }, { 2, 7 } } do
      local up, down = weight:clone(), weight:clone()
      up[at[1]][at[2]] = up[at[1]][at[2]] + 0.05
      down[at[1]][at[2]] = down[at[1]][at[2]] - 0.05
      assert.near((value(up) - value(down)) / 0.1, gradient["fc.weight"][at[1]][at[2]], 2e-3)
    end
  end)

  it("frees what it no longer needs", function()
    collectgarbage()
    local before = core.memory().blocks
    for _ = 1, 20 do
      local net = tiny()
      net:forward(tensor.randn(4, 3, 16, 16))
      net:clone():cut("layer1")
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(core.memory().blocks <= before, core.memory().blocks .. " blocks, before " .. before)
  end)
end)

describe("files of networks", function()
  local path = os.tmpname()
  after_each(function() os.remove(path) end)

  it("bring back the same network", function()
    local net = tiny():set_metadata("licence", "MIT")
    core.save_model(net, path, { metadata = { note = "n" } })
    local back = core.load_model(path)
    assert.equal((net:digest()), (back:digest()))
    assert.same(net:classes(), back:classes())
    assert.equal("MIT", back:metadata().licence)
    assert.same(net:preprocessing(), back:preprocessing())
    local weights <close> = core.weights(path)
    assert.equal("n", weights:metadata().note)
    assert.equal("safetensors", weights:format())
    assert.equal(4, weights:get("fc.bias").shape[1])
  end)

  it("put weights into a network by name", function()
    local net, other = tiny(), tiny()
    other:reinit("*")
    local list = {}
    for _, t in ipairs(net:tensors()) do
      if t.dtype == "f32" then
        list[#list + 1] = { "module." .. t.name, net:get(t.name) }
      end
    end
    list[#list + 1] = { "extra", tensor.zeros(2) }
    core.save_weights(path, list, { source = "test" })
    local weights <close> = core.weights(path)
    assert.error_matches(function() weights:apply(other, {}) end, "conv1")
    local map = {}
    for _, t in ipairs(net:tensors()) do
      map["module." .. t.name] = t.name
    end
    local report = weights:apply(other, { map = map, source = "file" })
    assert.same({ "extra" }, report.unused)
    assert.equal("file", row(other, "fc").source)
    assert.near(net:get("fc.weight"):table(), other:get("fc.weight"):table(), 0)
    assert.error_matches(function() core.load_model(path) end, "no architecture")
    assert.equal(core.digest_file(path), weights:sha256())

    weights:apply(other, { map = map, take = true }) -- spends them
    assert.near(net:get("fc.weight"):table(), other:get("fc.weight"):table(), 0)
    assert.error_matches(function() weights:tensors() end, "closed")
    core.save_model(net, path)
    local model <close> = core.weights(path)
    local digest = model:model():digest()
    assert.equal(digest, (model:model(true):digest()))
    assert.error_matches(function() model:model() end, "closed")
  end)

  it("go back to a snapshot", function()
    local net = tiny()
    local digest = net:digest()
    local snapshot <close> = core.snapshot(net)
    net:reinit("*")
    snapshot:restore(net)
    assert.equal(digest, (net:digest()))
  end)
end)
