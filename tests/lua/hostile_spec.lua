-- Nothing that a script calls, whatever the arguments and whatever its own functions do meanwhile, may crash, hang or read
-- what is not its own. First single cases, then a part of what tests/fuzz/api.lua does at length.
local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"
local T = core.tensor

local function network(extra)
  return graft.nn.network { name = "small", input = { 3, 8, 8 }, classes = { "ants", "bees" }, head = "fc",
    build = function(x)
      x = x:conv2d("conv1", { out = 4, kernel = 3, padding = 1 }):batch_norm("bn1"):relu()
      x = extra and x:apply("own", extra) or x
      return x:global_avg_pool():linear("fc", { out = 2 })
    end }
end

local function handle_of(net)
  return require("graft.network").handle(net, "test")
end

local x, y = T.rand(2, 3, 8, 8), T.tensor { { 1, 0 }, { 0, 1 } }

local function photos()
  if not core.stat(helpers.path "photos") then
    helpers.photos("photos", { "ants", "bees" }, 4)
  end
  return core.data_folder(helpers.path "photos", { val = 0.25 })
end

local function refuses(pattern, f, ...)
  local arguments = table.pack(...)
  local err = assert.error_matches(function() f(table.unpack(arguments, 1, arguments.n)) end, pattern)
  assert.is_true(core.is_error(err), "a Graft error")
  return err
end

-- A loss that first does `what` with the trainer's step under way.
local function step_with(what)
  local net = handle_of(network())
  local trainer
  trainer = core.trainer(net, { optimizer = { kind = "sgd", lr = 0.1 }, loss = function(logits, targets)
    what(trainer, net, logits, targets)
    return 1, logits * 0
  end })
  return trainer, net
end

describe("arguments", function()
  it("are not asked through metamethods, whose strings nothing would keep", function()
    local asked = setmetatable({}, { __index = function() error "asked" end, __len = function() return 1e9 end })
    local net = core.network("n", { 3, 8, 8 }, asked)
    net:add("global_avg_pool", "pool", nil, { "input" })
    assert.same({}, net:stages())
    refuses("at least one class", network().replace_head, network(), asked)
    refuses("no layer is named", network().freeze, network(), asked)
  end)

  it("that are names hold no NUL byte", function()
    refuses("NUL", core.stat, "a\0b")
    refuses("NUL", core.image_load, "a\0b")
    refuses("NUL", core.network, "a\0b", { 3, 8, 8 })
    refuses("NUL", network().replace_head, network(), { "a\0b", "c" })
    refuses("NUL", graft.zeros(2).save, graft.zeros(2), "a\0b")
    assert.equal(64, #core.digest "a\0b")
  end)

  it("cannot ask for lists without end", function()
    refuses("too long", function() return T.zeros(1 << 40, 0):table() end)
    refuses("more than", function() return T.zeros(1):expand(1 << 40) end)
    refuses("more than", core.random, "sample", 1, 1, 1, 1 << 53)
    refuses("more than", core.shuffle, 1 << 53)
    refuses("at most", graft.fit, network(), graft.data.folder(photos():path()), { epochs = math.maxinteger })
  end)

  it("of weights by class live as long as the loss", function()
    local description = { kind = "cross_entropy", class_weights = { 1, 3 } }
    local value = core.loss(description, T.zeros(2, 2), y)
    for _ = 1, 50 do
      collectgarbage()
      assert.equal(value, (core.loss(description, T.zeros(2, 2), y)))
    end
    refuses("must be a table", core.loss, { kind = "cross_entropy", class_weights = true }, T.zeros(2, 2), y)
  end)

  it("of images name the interpolations that there are", function()
    refuses('"bilinear", "bicubic"', graft.image.resize, T.rand(3, 4, 4), 2, 2, "cubic")
  end)
end)

describe("handles", function()
  it("keep their finalizers to themselves", function()
    assert.equal("graft.network", getmetatable(handle_of(network())))
    assert.equal("graft.dataset", getmetatable(photos()))
    assert.equal(false, getmetatable(x))
  end)

  it("of data outlive what uses them, or say that they were closed", function()
    local data = photos()
    local with = data:with(data:set("train"):take { 1, 2, 3 })
    local step, _, _, closing = with:set("val"):batches { batch_size = 1, net = handle_of(network()) }
    refuses("still running", data.close, data)
    assert.not_equal(nil, (step()))
    closing:close()
    data:close()
    refuses("closed", with.set, with, "val")
    refuses("closed", with.counts, with)
  end)

  it("of data cannot be closed by <close> below a loop", function()
    local data = photos()
    local step, _, _, closing = data:set("train"):batches { batch_size = 2, net = handle_of(network()) }
    assert.is_false((pcall(function() local _ <close> = data end)))
    assert.is_false((pcall(function() local _ <close> = data:set "train" end)))
    assert.not_equal(nil, (step()))
    closing:close()
  end)

  it("of trainers know how many logits there are", function()
    local trainer = core.trainer(handle_of(network()), { optimizer = { kind = "sgd", lr = 0.1 } })
    assert.is_nil(trainer:logits(1))
    trainer:step(x, y)
    assert.same({ 2, 2 }, trainer:logits(2).shape)
    assert.is_nil(trainer:logits(3))
    assert.is_nil(trainer:logits(1 << 16))
  end)
end)

describe("a loss", function()
  local function cannot(pattern, what)
    local err
    local trainer = step_with(function(...)
      local arguments = table.pack(...)
      err = select(2, pcall(function() what(table.unpack(arguments)) end))
    end)
    assert.equal(1, (trainer:step(x, y)))
    assert.is_true(core.is_error(err), tostring(err))
    assert.matches(pattern, tostring(err))
  end

  it("cannot close its trainer, its network, or begin a step", function()
    cannot("under way", function(trainer) trainer:close() end)
    cannot("under way", function(trainer) trainer:step(T.rand(9, 3, 8, 8), T.zeros(9, 2)) end)
    cannot("under way", function(trainer) trainer:restore "x" end)
    cannot("trained", function(_, net) net:close() end)
  end)

  it("cannot change the network that learns", function()
    cannot("at work", function(_, net) net:replace_head { "a", "b", "c" } end)
    cannot("at work", function(_, net) net:freeze "conv1" end)
    cannot("at work", function(_, net) net:set_size(16) end)
    cannot("at work", function(_, net) net:add_aux("conv1", {}) end)
    cannot("at work", function(_, net) net:set("fc.bias", T.zeros(2)) end)
  end)

  it("may run it, and train another", function()
    local other = step_with(function() end)
    local shape
    local trainer = step_with(function(_, net)
      shape = net:forward(x).shape
      other:step(x, y)
    end)
    assert.equal(1, (trainer:step(x, y)))
    assert.same({ 2, 2 }, shape)
  end)

  it("cannot change the number of threads", function()
    cannot("threads", function() core.threads(core.threads() + 1) end)
  end)

  it("holds its arguments no longer than the call, whatever it returns", function()
    for _, result in ipairs { false, "text", 1 } do
      local kept, keep_y
      local trainer = core.trainer(handle_of(network()), { optimizer = { kind = "sgd", lr = 0.1 },
        loss = function(logits, targets)
          kept, keep_y = logits, targets
          return result, result == 1 and "no gradient" or logits
        end })
      refuses("loss: ", trainer.step, trainer, x, y)
      trainer:close()
      refuses("", kept.sum, kept)
      refuses("", keep_y.sum, keep_y)
    end
  end)

  it("cannot move its batch on", function()
    local data = photos()
    local net = handle_of(network())
    local failures = {}
    local step, _, _, closing = data:set("train"):batches { batch_size = 2, net = net }
    local trainer = core.trainer(net, { optimizer = { kind = "sgd", lr = 0.1 }, loss = function(logits)
      failures[1] = select(2, pcall(step))
      failures[2] = select(2, pcall(closing.close, closing))
      failures[3] = select(2, pcall(data.close, data))
      return 1, logits * 0
    end })
    local _, _, b = step()
    trainer:step_batch(b)
    assert.equal(3, #failures)
    assert.matches("under way", tostring(failures[1]))
    assert.matches("under way", tostring(failures[2]))
    assert.matches("still running", tostring(failures[3]))
    assert.not_equal(nil, (step()))
    closing:close()
  end)

  it("and a progress function cannot take away what is evaluated", function()
    local data, net = photos(), handle_of(network())
    local failures = {}
    core.evaluate(net, data:set "train", { batch_size = 2, progress = function()
      failures[1] = select(2, pcall(net.close, net))
      failures[2] = select(2, pcall(data.close, data))
      failures[3] = select(2, pcall(net.reinit, net, "*"))
    end })
    assert.matches("at work", tostring(failures[1]))
    assert.matches("still running", tostring(failures[2]))
    assert.matches("at work", tostring(failures[3]))
  end)
end)

describe("a layer written in Lua", function()
  local count = 0
  local function layer(forward, more)
    count = count + 1
    local spec = { kind = "hostile" .. count, forward = forward, backward = function(gy) return gy end }
    for key, value in pairs(more or {}) do
      spec[key] = value
    end
    return graft.nn.layer(spec)
  end

  it("cannot change or run the network that runs it", function()
    local net, failures
    net = network(layer(function(input)
      failures = { select(2, pcall(net.freeze, net, "*")), select(2, pcall(net.forward, net, x)),
        select(2, pcall(net.close, net)) }
      return input
    end))
    assert.same({ 2, 2 }, net:forward(x).shape)
    assert.matches("at work", tostring(failures[1]))
    assert.matches("runs just now", tostring(failures[2]))
    assert.matches("at work", tostring(failures[3]))
  end)

  it("may run another network with layers of the same kind", function()
    local inner, depth = nil, 0
    local own = layer(function(input)
      depth = depth + 1
      if depth == 1 then
        inner:forward(x)
      end
      return input * 1
    end)
    inner = network(own)
    assert.same({ 2, 2 }, network(own):forward(x).shape)
    assert.equal(2, depth)
  end)

  it("runs on a coroutine that is nobody's afterwards", function()
    local kept = {}
    local net = network(layer(function(input)
      kept[#kept + 1] = coroutine.running()
      return input
    end))
    net:forward(x)
    assert.is_false((coroutine.resume(kept[1])))
    pcall(coroutine.close, kept[1])
    net:forward(x)
    pcall(coroutine.close, kept[2])
    collectgarbage()
    assert.same({ 2, 2 }, net:forward(x).shape)
  end)

  it("may be replaced and collected while it runs", function()
    local net
    local own = layer(function(input)
      graft.nn.layer { kind = "hostile" .. count, forward = function(z) return z end }
      coroutine.wrap(function() collectgarbage() end)()
      return input
    end)
    net = network(own)
    assert.same({ 2, 2 }, net:forward(x).shape)
    assert.same({ 2, 2 }, net:forward(x).shape)
  end)

  it("whose shape builds a network of its kind comes to an end", function()
    local own
    own = layer(function(input) return input end, { shape = function(shape)
      network(own)
      return shape
    end })
    refuses("deep", network, own)
  end)

  it("whose shape changes the network under it is refused", function()
    local net = core.network("n", { 3, 8, 8 })
    local own = layer(function(input) return input end, { shape = function(shape)
      for i = 1, 50 do
        net:add("relu", "more" .. i, nil, { "input" })
      end
      return shape
    end })
    refuses("at work", net.add, net, "custom", "own", { kind = own.kind }, { "input" })
  end)
end)

describe("a finalizer", function()
  local function finally(f)
    local failure, ran
    setmetatable({}, { __gc = function()
      ran, failure = pcall(f)
    end })
    collectgarbage()
    assert.not_equal(nil, ran)
    return ran, failure
  end

  it("cannot close what a function may be reading", function()
    local net, data, t = handle_of(network()), photos(), T.ones(3)
    finally(function()
      net:close()
      data:close()
      t:close()
    end)
    assert.is_false(net:closed())
    assert.equal(8, #data:set("train"):targets() + #data:set("val"):targets())
    assert.equal(3, t:sum())
  end)

  it("cannot change or run a network, or move a loop on", function()
    local net, data = handle_of(network()), photos()
    local step, _, _, closing = data:set("train"):batches { batch_size = 2, net = net }
    for _, f in ipairs { function() net:freeze "*" end, function() net:forward(x) end, step,
      function() net:replace_head { "a", "b" } end } do
      local ran, failure = finally(f)
      assert.is_false(ran)
      assert.matches("finalizer", tostring(failure))
    end
    assert.not_equal(nil, (step()))
    closing:close()
  end)
end)

describe("every function", function()
  it("takes whatever comes", function()
    local folder = helpers.fresh "calls"
    core.make_folder(folder)
    local command = "cd '%s' && GRAFT_BUILD='%s' timeout 600 ${LUA:-lua5.4} '%s/fuzz/api.lua' "
      .. "--part 1/12 --sequences 4000 >out 2>&1"
    local _, _, status = os.execute(command:format(folder, helpers.program:match "^(.*)/", helpers.tests))
    local out = helpers.read(folder .. "/out")
    if status ~= 0 then
      error(("status %d\n%s\nthe last call: %s"):format(status, out:sub(-4000), helpers.read(folder .. "/last-call")), 0)
    end
    local calls, wrong = out:match "# seed %d+: (%d+) calls of.* (%d+) wrong"
    assert.truthy(tonumber(calls) > 3000)
    assert.equal("0", wrong)
  end)
end)
