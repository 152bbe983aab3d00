-- Auxiliary classifiers: joint gradients against PyTorch (tests/fixtures/make_aux.py), what each exit costs, ending there.
local helpers = require "helpers"
local graft = require "graft"
local core = require "graft.core"
local network = require "graft.network"

local fixture = core.parse_json(helpers.read("tests/fixtures/insight/aux.json"))

local function tensor(entry)
  return graft.tensor(entry.values):reshape(table.unpack(entry.shape))
end

local function small()
  return graft.nn.network { name = "small", input = { 3, 8, 8 }, classes = { "a", "b", "c" }, head = "fc",
    stages = { "stem", "layer1", "layer2" }, preprocessing = { mean = { 0, 0, 0 }, std = { 1, 1, 1 } },
    build = function(x)
      x = x:conv2d("stem", { out = 6, kernel = 3, padding = 1, bias = false }):batch_norm("bn"):relu()
      x = x:conv2d("layer1", { out = 8, kernel = 3, stride = 2, padding = 1, bias = false }):batch_norm("bn1"):relu()
      local y = x:conv2d("layer2", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn2")
      return (y + x):relu():global_avg_pool():linear("fc", { out = 3 })
    end }
end

local function with_heads()
  return small():add_aux("stem", { weight = fixture.aux.stem, hidden = 4 })
    :add_aux("layer1", { weight = fixture.aux.layer1, pool = "max" })
end

describe("a joint step through three classifiers", function()
  it("has the losses and the gradients that PyTorch has", function()
    local net = with_heads()
    local handle = network.handle(net, "test")
    local labels, compared = {}, 0
    for i, label in ipairs(fixture.labels) do
      labels[i] = net.classes[label + 1]
    end
    for name, entry in pairs(fixture.weights) do
      handle:set(name, tensor(entry))
    end
    local tr = core.trainer(handle, { optimizer = { kind = "sgd", lr = 1 } })
    local loss, others = tr:step(tensor(fixture.x), labels)
    local wanted = fixture.losses
    assert.truthy(math.abs(loss - (wanted[1] + fixture.aux.stem * wanted[2] + fixture.aux.layer1 * wanted[3])) < 1e-5)
    assert.truthy(math.abs(others.stem - wanted[2]) < 1e-5)
    assert.truthy(math.abs(others.layer1 - wanted[3]) < 1e-5)
    for name, entry in pairs(fixture.gradients) do
      local gradient, got = tensor(entry), tensor(fixture.weights[name]) - handle:get(name)
      local off = ((got - gradient) ^ 2):sum() ^ 0.5 / ((gradient ^ 2):sum() ^ 0.5 + 1e-3)
      assert.truthy(off < 1e-3, name .. " is off by " .. off)
      compared = compared + 1
    end
    assert.equal(17, compared)
    tr:close()
  end)
end)

describe("net:cut at an auxiliary classifier", function()
  local net = with_heads()
  local x = graft.rand(2, 3, 8, 8)
  local heads = net:forward(x, { heads = true })

  it("ends in it, with the weights that it has, and leaves the old network alone", function()
    local before = net:digest()
    for _, at in ipairs { "stem", "layer1" } do
      local exit = net:cut(at, { head = "aux" })
      assert.same(net.classes, exit.classes)
      assert.truthy((exit(x) - heads[at]):abs():max() < 1e-5)
      assert.matches("^aux%." .. at, exit.head)
      local path = helpers.path(at .. ".safetensors")
      exit:save(path)
      assert.truthy((graft.load(path)(x) - heads[at]):abs():max() < 1e-5)
      assert.equal(2, #exit:replace_head { "d", "e" }.classes)
      exit:freeze "body"
    end
    assert.equal(before, net:digest())
  end)

  it("keeps the classifiers before it", function()
    local exit = net:cut("layer1", { head = "aux" })
    assert.truthy((exit:forward(x, { heads = true }).stem - heads.stem):abs():max() < 1e-5)
    assert.error_matches(function()
      exit:cut("layer1", { head = "aux" })
    end, 'has no auxiliary classifier at "layer1"')
    assert.error_matches(function()
      net:cut("layer2", { head = "aux" })
    end, 'no auxiliary classifier at "layer2"; nearest: "stem"')
    assert.error_matches(function()
      net:cut("stem", { head = "fc" })
    end, 'head must be "aux"')
  end)

  it("works for the ones that an architecture brings along", function()
    local googlenet = graft.models.googlenet { classes = { "a", "b" }, size = 64 }
    local at = network.handle(googlenet, "test"):aux()[1].at
    local photo = graft.rand(1, 3, 64, 64)
    local wanted = googlenet:forward(photo, { heads = true })[at]
    assert.truthy((googlenet:cut(at, { head = "aux" })(photo) - wanted):abs():max() < 1e-4)
  end)
end)

describe("graft eval --heads", function()
  local photos = helpers.photos("exits", { "mugs", "bowls" }, 8)
  local out = helpers.fresh "run"
  local recipe = helpers.recipe(([[
    local graft = require "graft"
    local d = graft.data.folder(%q, { val = 0.25 })
    local net = graft.load(%q):replace_head(d):add_aux("layer1", {}):add_aux("layer3", { hidden = 4 })
    print(graft.fit(net, d, { epochs = 2 }))
    net:save(graft.out "whole.safetensors", { aux = true })
  ]]):format(photos, helpers.weights()))
  local result = helpers.done { "run", recipe, "--out", out }

  it("finds losses and accuracies of each classifier in progress, rows and result", function()
    local rows, columns = helpers.csv(out .. "/metrics.csv")
    for _, name in ipairs { "train_loss", "val_loss", "val_accuracy" } do
      for _, at in ipairs { "layer1", "layer3" } do
        assert.is_number(tonumber(rows[2][name .. ":" .. at]), name .. ":" .. at .. " of " .. table.concat(columns, " "))
      end
    end
    assert.matches("epoch 2/2  .*layer1 [01]%.%d+  layer3 [01]%.%d+", result.err)
    assert.matches("auxiliary +layer1 +accuracy [01]%.%d+, loss %d", result.out)
  end)

  it("tells what each exit gives and costs", function()
    local model = out .. "/whole.safetensors"
    local text = helpers.done({ "eval", model, photos, "--heads" }).out
    for _, piece in ipairs { "classifier at", "layer1", "layer3", "the end", "100 %", "multiply-adds" } do
      assert.contains(piece, text)
    end
    local heads = helpers.json({ "eval", model, photos, "--heads", "--json" }).heads
    assert.equal(3, #heads)
    local last = 0
    for i, head in ipairs(heads) do
      helpers.has_keys(head, { "layer", "accuracy", "low", "high", "loss", "multiply_adds", "share", "milliseconds" })
      assert.equal(({ "layer1", "layer3", "head" })[i], head.layer)
      assert.truthy(head.multiply_adds > last)
      last = head.multiply_adds
    end
    assert.equal(1, heads[3].share)
    local plain = helpers.fresh "plain"
    helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      graft.load(%q):remove_aux():save(graft.out "plain.safetensors")
    ]]):format(model)), "--out", plain }
    assert.contains("has one classifier", helpers.done({ "eval", plain .. "/plain.safetensors", photos, "--heads" }).out)
  end)
end)
