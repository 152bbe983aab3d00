-- Training through the core: losses, optimisers, steps, checkpoints, layers and losses written in Lua.
require "graft"
local core = require "graft.core"
local tensor = core.tensor

local function tiny(seed)
  local net = core.network("tiny", { 1, 6, 6 }, nil, seed or 1)
  net:add("conv2d", "conv1", { out = 6, kernel = 3, padding = 1, bias = false }, { "input" })
  net:add("batch_norm", "bn1", nil, { "conv1" })
  net:add("relu", "relu1", nil, { "bn1" })
  net:add("conv2d", "conv2", { out = 6, kernel = 3, padding = 1 }, { "relu1" })
  net:add("batch_norm", "bn2", nil, { "conv2" })
  net:add("relu", "relu2", nil, { "bn2" })
  net:add("flatten", "flat", nil, { "relu2" })
  net:add("linear", "fc", { out = 3 }, { "flat" })
  net:finish { output = "fc", head = "fc", stages = { "conv1", "conv2" } }
  return net:set_classes { "a", "b", "c" }
end

local function batch(n)
  local x, y = tensor.randn(n, 1, 6, 6), tensor.zeros(n, 3)
  for i = 1, n do
    y[i][i % 3 + 1] = 1
  end
  return x, y
end

local sgd = { kind = "sgd", lr = 0.1, momentum = 0.9, weight_decay = 1e-2 }

describe("losses", function()
  it("are numbers with gradients", function()
    local logits, y = tensor.tensor { { 0, 0 } }, tensor.tensor { { 1, 0 } }
    local value, gradient = core.loss({ kind = "cross_entropy" }, logits, y)
    assert.near(math.log(2), value, 1e-6)
    assert.near({ { -0.5, 0.5 } }, gradient:table(), 1e-6)
    assert.near(0.5, (core.loss({ kind = "mse" }, logits, y)), 1e-6)
    assert.near(math.log(2), (core.loss({ kind = "binary_cross_entropy" }, logits, y)), 1e-6)
  end)

  it("take class weights by name or in order", function()
    local logits, y = tensor.tensor { { 1, 0 }, { 1, 0 } }, tensor.tensor { { 1, 0 }, { 0, 1 } }
    local by_name = core.loss({ kind = "cross_entropy", class_weights = { b = 3 } }, logits, y, { "a", "b" })
    local in_order = core.loss({ kind = "cross_entropy", class_weights = { 1, 3 } }, logits, y)
    assert.near(by_name, in_order, 1e-7)
    assert.error_matches(function()
      core.loss({ kind = "cross_entropy", class_weights = { bb = 3 } }, logits, y, { "a", "b" })
    end, '"bb"')
    assert.error_matches(function() core.loss({ kind = "cross_entropy", class_weights = { 1 } }, logits, y) end, "lists 1")
  end)

  it("refuse what does not fit", function()
    assert.error_matches(function() core.loss({ kind = "mse" }, tensor.zeros(1, 2), tensor.zeros(2, 1)) end, "%[1,2%]")
    assert.error_matches(function() core.loss({ kind = "mes" }, tensor.zeros(1, 2), tensor.zeros(1, 2)) end, "mse")
    assert.error_matches(function() core.loss({ kind = "mse", x = 1 }, tensor.zeros(1, 2), tensor.zeros(1, 2)) end, '"x"')
  end)
end)

describe("optimisers and schedules", function()
  it("work on tensors of one's own", function()
    local optimizer <close> = core.optimizer { kind = "sgd", lr = 0.5 }
    local w, g = tensor.tensor { 1, 2 }, tensor.tensor { 1, -1 }
    optimizer:step({ w }, { g })
    assert.near({ 0.5, 2.5 }, w:table())
    optimizer:step({ w }, { g }, 1)
    assert.near({ -0.5, 3.5 }, w:table())
    assert.error_matches(function() optimizer:step({ w }, { tensor.zeros(3) }) end, "one shape")
    assert.error_matches(function() core.optimizer { kind = "sgd" } end, "lr")
    assert.error_matches(function() core.optimizer { kind = "sdg", lr = 1 } end, 'nearest: "sgd"')
  end)

  it("give the rate of a step", function()
    assert.near(0.1, core.schedule({ kind = "constant" }, 0.1, 5, 10))
    assert.near(0.1, core.schedule({ kind = "cosine" }, 0.1, 0, 10), 1e-3)
    assert.is_true(core.schedule({ kind = "cosine" }, 0.1, 9, 10) < 0.01)
  end)
end)

describe("a trainer", function()
  it("learns a batch by heart", function()
    local net = tiny()
    local trainer <close> = core.trainer(net, { optimizer = { kind = "adam", lr = 0.01 } })
    local x, y = batch(12)
    local first = trainer:step(x, y)
    local last
    for _ = 1, 40 do
      last = trainer:step(x, y)
    end
    assert.is_true(last < first / 4, ("%g, then %g"):format(first, last))
    assert.equal(41, trainer:steps())
    assert.near(0.01, trainer:lr(), 1e-7)
    assert.is_true(trainer:norm() > 0)
  end)

  it("takes targets by name", function()
    local net = tiny()
    local x = batch(2)
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    assert.is_number((trainer:step(x, { "a", "c" })))
    assert.error_matches(function() trainer:step(x, { "a", "d" }) end, '"d"')
    assert.error_matches(function() trainer:step(x, { "a" }) end, "one row a photo")
    assert.error_matches(function() trainer:step(tensor.zeros(1, 3, 6, 6), { "a" }) end, "%[N,1,H,W%]")
  end)

  it("leaves frozen layers as they are, byte for byte, wherever they are", function()
    for _, frozen in ipairs { "body", "conv1", "conv2", "bn1", "fc" } do
      local net = tiny():freeze(frozen)
      local before, tensors = net:digest(true)
      local others = net:digest()
      local trainer <close> = core.trainer(net, { optimizer = sgd })
      for _ = 1, 10 do
        trainer:step(batch(6))
      end
      assert.is_true(tensors > 0)
      assert.equal(before, (net:digest(true)), frozen)
      assert.not_equal(others, (net:digest()), frozen)
    end
  end)

  it("trains what is below a frozen layer", function()
    local net = tiny():freeze("conv2")
    local before = net:get("conv1.weight")
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    trainer:step(batch(6))
    assert.is_false(net:get("conv1.weight") == before)
  end)

  it("takes changes of the network at the next step", function()
    local net = tiny()
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    trainer:step(batch(6))
    net:freeze("body")
    local before = net:digest(true)
    trainer:step(batch(6))
    assert.equal(before, (net:digest(true)))
    net:unfreeze("conv2")
    local conv2 = net:get("conv2.weight")
    trainer:step(batch(6))
    assert.is_false(net:get("conv2.weight") == conv2)
  end)

  it("holds statistics fixed when it is told so, and lets them go", function()
    local net = tiny()
    local before = net:get("bn1.running_mean")
    do
      local trainer <close> = core.trainer(net, { optimizer = sgd, fixed_norms = true })
      trainer:step(batch(6))
    end
    assert.is_true(net:get("bn1.running_mean") == before)
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    trainer:step(batch(6))
    assert.is_false(net:get("bn1.running_mean") == before)
  end)

  it("keeps its network open", function()
    local net = tiny()
    local trainer = core.trainer(net, { optimizer = sgd })
    assert.is_true(net:busy())
    assert.error_matches(function() net:close() end, "being trained")
    trainer:close()
    trainer:close()
    assert.error_matches(function() trainer:step(batch(2)) end, "closed")
    net:close()
  end)

  it("tells the losses of auxiliary classifiers", function()
    local net = tiny():add_aux("conv1", { weight = 0.5 })
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    local _, losses = trainer:step(batch(6))
    assert.is_number(losses.conv1)
  end)

  it("stops at numbers that are not finite, before they do harm", function()
    local net = tiny()
    local digest = net:digest()
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    local x, y = batch(4)
    x[1][1][1][1] = math.huge
    local err = assert.error_matches(function() trainer:step(x, y) end)
    assert.equal("number", err.kind)
    assert.equal(digest, (net:digest()))
  end)

  it("goes on from a checkpoint with the same bits", function()
    local path = os.tmpname()
    local batches = {}
    for i = 1, 8 do
      batches[i] = { batch(6) }
    end
    local options = { optimizer = { kind = "adamw", lr = 0.01 }, schedule = { kind = "cosine" }, steps = 8 }
    local whole, first, second = tiny(), tiny(), tiny(5)
    local function run(net, from, to, restore)
      local trainer <close> = core.trainer(net, options)
      local record = restore and trainer:restore(path)
      for i = from, to do
        trainer:step(batches[i][1], batches[i][2])
      end
      if not restore then
        trainer:save(path, { epoch = 3, rows = { 1, 2 } })
      end
      return record
    end
    run(whole, 1, 8)
    run(first, 1, 4)
    assert.same({ 1, 2 }, { table.unpack(run(second, 5, 8, true).rows) })
    assert.equal((whole:digest()), (second:digest()))
    local weights <close> = core.weights(path)
    assert.equal(3, weights:record().epoch)
    os.remove(path)
  end)

  it("refuses options that it does not know", function()
    assert.error_matches(function() core.trainer(tiny(), {}) end, "optimizer is required")
    assert.error_matches(function() core.trainer(tiny(), { optimizer = sgd, stpes = 1 }) end, 'nearest: "steps"')
    assert.error_matches(function() core.trainer(tiny(), { optimizer = { kind = "sgd", lr = 0 } }) end)
    assert.error_matches(function() core.trainer(tiny(), { optimizer = sgd, clip = -1 }) end, "clip")
    local net = tiny()
    pcall(core.trainer, net, { optimizer = sgd, clip = -1 })
    assert.is_false(net:busy())
  end)
end)

describe("a loss in Lua", function()
  local function brier(logits, y)
    local p = logits:softmax(2)
    local g = p - y
    return (g * g):sum() / #y, p * (g - (p * g):sum(2, true)) * (2 / #y)
  end

  it("trains as a built-in one does", function()
    local mse = function(logits, y)
      return core.loss({ kind = "mse" }, logits, y)
    end
    local a, b = tiny(), tiny()
    local x, y = batch(6)
    do
      local one <close> = core.trainer(a, { optimizer = sgd, loss = mse })
      local two <close> = core.trainer(b, { optimizer = sgd, loss = { kind = "mse" } })
      for _ = 1, 3 do
        assert.near((one:step(x, y)), (two:step(x, y)), 1e-6)
      end
    end
    assert.equal((a:digest()), (b:digest()))
    local trainer <close> = core.trainer(tiny(), { optimizer = sgd, loss = brier })
    assert.is_number((trainer:step(x, y)))
  end)

  it("gets the third argument of step", function()
    local got
    local trainer <close> = core.trainer(tiny(), { optimizer = sgd, loss = function(logits, y, b)
      got = b
      return brier(logits, y)
    end })
    local x, y = batch(3)
    trainer:step(x, y, { tag = "mine" })
    assert.equal("mine", got.tag)
  end)

  it("fails with its own error and harms nothing", function()
    local net, kept = tiny(), nil
    local digest = net:digest()
    local x, y = batch(3)
    local function failing(loss, pattern)
      local trainer <close> = core.trainer(net, { optimizer = sgd, loss = loss })
      return assert.error_matches(function() trainer:step(x, y) end, pattern)
    end
    local mark = {}
    local trainer <close> = core.trainer(net, { optimizer = sgd, loss = function() error(mark) end })
    local _, err = pcall(trainer.step, trainer, x, y)
    assert.equal(mark, err)
    failing(function() return "x" end, "must be a number")
    failing(function() return 1 end, "its gradient")
    failing(function() return 1, tensor.zeros(1, 1) end, "shaped like the logits")
    failing(function(logits) kept = logits error("after") end, "after")
    assert.error_matches(function() return kept:sum() end)
    assert.equal(digest, (net:digest()))
  end)
end)

describe("a layer in Lua", function()
  core.register_layer { kind = "scale", parameters = { { name = "weight", shape = { 6 }, init = "ones" } },
    forward = function(x, p)
      return x * p.weight:reshape(1, 6, 1, 1), "saved"
    end,
    backward = function(gy, x, _, p, saved)
      assert.equal("saved", saved)
      return gy * p[1]:reshape(1, 6, 1, 1), { (gy * x):sum(4):sum(3):sum(1) }
    end }

  local function with_scale(kind)
    local net = core.network("custom", { 1, 6, 6 }, nil, 3)
    net:add("conv2d", "conv1", { out = 6, kernel = 3, padding = 1 }, { "input" })
    net:add("custom", "scale", { kind = kind or "scale" }, { "conv1" })
    net:add("flatten", "flat", nil, { "scale" })
    net:add("linear", "fc", { out = 3 }, { "flat" })
    net:finish { output = "fc", head = "fc" }
    return net:set_classes { "a", "b", "c" }
  end

  it("runs, has gradients and learns", function()
    local net = with_scale()
    local x, y = batch(4)
    local before = net:forward(x)
    net:set("scale.weight", tensor.full({ 6 }, 2))
    assert.is_false(net:forward(x) == before)
    local gradient = net:step_gradient(x, tensor.ones(4, 3))
    assert.same({ 6 }, gradient["scale.weight"].shape)
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    trainer:step(x, y)
    assert.is_false(net:get("scale.weight") == tensor.full({ 6 }, 2))
  end)

  it("is saved by name alone", function()
    local path = os.tmpname()
    local net = with_scale()
    core.save_model(net, path)
    assert.equal((net:digest()), (core.load_model(path):digest()))
    os.remove(path)
  end)

  it("fails with its own error", function()
    local broken = false
    core.register_layer { kind = "broken", forward = function(x)
      if broken then
        error("broken on purpose")
      end
      return x
    end }
    local net = with_scale("broken")
    local x = batch(2)
    net:forward(x)
    broken = true
    assert.error_matches(function() net:forward(x) end, "broken on purpose")
    core.register_layer { kind = "broken", forward = function() return tensor.zeros(1) end }
    assert.error_matches(function() net:forward(x) end, "what forward returns")
    assert.error_matches(function() with_scale("unheard") end, "unheard")
    assert.error_matches(function() core.register_layer { kind = "x" } end, "forward")
  end)
end)

describe("evaluation", function()
  it("polls, tells progress and can be ended by it", function()
    local items, folder = {}, os.tmpname()
    os.remove(folder)
    core.make_folder(folder)
    for i = 1, 9 do
      local path = ("%s/%d.png"):format(folder, i)
      core.image_save(tensor.rand(1, 8, 8), path)
      items[i] = { image = path, class = ({ "a", "b", "c" })[i % 3 + 1] }
    end
    local data = core.data_list(items, { val = 0 })
    local net, calls = tiny(), {}
    local digest = net:digest()
    local result = core.evaluate(net, data:set("train"), { batch_size = 4, progress = function(done, total)
      calls[#calls + 1] = done .. "/" .. total
    end })
    assert.same({ "4/9", "8/9", "9/9" }, calls)
    assert.equal(9, result.count)
    assert.near(result.right / 9, result.accuracy, 1e-9)
    assert.equal(3, #result.confusion)
    assert.equal(digest, (net:digest()))
    assert.error_matches(function()
      core.evaluate(net, data:set("train"), { progress = function() error("enough") end })
    end, "enough")
    local brier = function(logits, y)
      local g = logits - y
      return (g * g):sum(), g
    end
    assert.is_number(core.evaluate(net, data:set("train"), { loss = brier }).loss)
    local steps = 0
    local trainer <close> = core.trainer(net, { optimizer = sgd })
    for _, _, b in data:set("train"):batches { net = net, batch_size = 4, shuffle = true, tensors = false } do
      trainer:step_batch(b)
      steps = steps + 1
    end
    assert.equal(3, steps)
    for i = 1, 9 do
      os.remove(items[i].image)
    end
    core.remove(folder)
  end)
end)

describe("running out of memory", function()
  it("is an error of its kind at every step, and leaves nothing behind", function()
    local function work()
      local net <close> = tiny()
      local clone <close> = net:clone()
      clone:replace_head({ "x", "y" }, { hidden = 4 }):add_aux("conv1", {})
      net:forward(tensor.randn(3, 1, 6, 6), { "conv1", "fc" })
      local trainer <close> = core.trainer(net, { optimizer = sgd, loss = function(logits, y)
        return core.loss({ kind = "mse" }, logits, y)
      end })
      trainer:step(batch(5))
    end
    work()
    collectgarbage()
    collectgarbage()
    local before, failures, done = core.memory(), 0, false
    local room = 512
    while not done do
      core.memory(before.live + room)
      local ok, err = pcall(work)
      core.memory(0)
      done = ok
      if not ok then
        failures = failures + 1
        assert.is_true(core.is_error(err), tostring(err))
        assert.equal("memory", err.kind, err.message)
      end
      collectgarbage()
      collectgarbage()
      assert.is_true(core.memory().blocks <= before.blocks, room .. " bytes of room: blocks were left")
      room = room + 700
    end
    assert.is_true(failures > 20)
  end)
end)

describe("nothing", function()
  it("is left behind", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().blocks
    for _ = 1, 10 do
      local trainer = core.trainer(tiny(), { optimizer = sgd })
      trainer:step(batch(4))
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(core.memory().blocks <= before + 1, core.memory().blocks .. " blocks, before " .. before)
  end)
end)
