-- graft.lr_find: its curve is that of the same steps made by hand, its rule is a function of the curve, and nothing changes.

local graft = require "graft"
local core = require "graft.core"
local coloured = require "coloured"
local lr_find = require "graft.lr_find"

local work = os.tmpname()
os.remove(work)

-- A curve of `n` rates from 1e-4 to 1 whose loss is f(log10 of the rate).
local function curve(n, f)
  local points, losses = {}, {}
  local rates = lr_find.rates(1e-4, 1, n)
  for i, rate in ipairs(rates) do
    losses[i] = f(math.log(rate, 10))
  end
  for i, smoothed in ipairs(lr_find.smoothed(losses, n)) do
    points[i] = { lr = rates[i], loss = losses[i], smoothed = smoothed }
  end
  return points
end

describe("the rates", function()
  it("grow by one factor, from start to stop exactly", function()
    local rates = lr_find.rates(1e-5, 1, 50)
    assert.equal(50, #rates)
    assert.equal(1e-5, rates[1])
    assert.equal(1.0, rates[50])
    for i = 3, 50 do
      assert.near(rates[2] / rates[1], rates[i] / rates[i - 1], 1e-9)
    end
  end)
end)

describe("the smoothed loss", function()
  it("is a constant for a constant, from the first step on", function()
    for _, value in ipairs(lr_find.smoothed({ 2, 2, 2, 2 }, 100)) do
      assert.near(2, value, 1e-12)
    end
  end)
  it("is the moving average with bias correction", function()
    local keep, losses = 0.9, { 1, 3, 2, 7 } -- 100 steps: the last ten
    local list = lr_find.smoothed(losses, 100)
    for n = 1, #losses do
      local sum, weight = 0, 0
      for i = 1, n do
        sum, weight = sum + losses[i] * keep ^ (n - i), weight + keep ^ (n - i)
      end
      assert.near(sum / weight, list[n], 1e-12)
    end
  end)
end)

describe("the rule", function()
  it("lies between the steepest place and a tenth of the rate at the minimum", function()
    local points = curve(200, function(x) -- falls between 1e-3 and 1e-2, fastest at 10^-2.5; lowest until 0.1, then up
      return 1 - 0.8 / (1 + math.exp(-8 * (x + 2.5))) + math.max(0, x + 1) ^ 2 * 4
    end)
    local found = lr_find.suggest(points, 200)
    assert.near(1, found.began, 0.01)
    local lag = 10 ^ (4 / 200 * 20) -- what the smoothing remembers
    assert.is_true(found.steepest >= 10 ^ -2.5 and found.steepest < 10 ^ -2.5 * lag, tostring(found.steepest))
    assert.is_true(found.minimum >= 10 ^ -1.5 and found.minimum < 0.1 * lag, tostring(found.minimum))
    assert.equal(("%.1e"):format(math.sqrt(found.steepest * found.minimum / 10)), ("%.1e"):format(found.lr))
    for _, point in ipairs(points) do
      assert.is_true(point.smoothed >= found.lowest or point.lr < 2e-4)
    end
  end)
  it("has nothing to say of a loss that is flat, rises, or is noise about a level", function()
    assert.is_nil(lr_find.suggest(curve(100, function() return 0.7 end), 100).lr)
    assert.is_nil(lr_find.suggest(curve(100, function(x) return 5 + x end), 100).lr)
    assert.is_nil(lr_find.suggest(curve(100, function(x) return 1 + 0.05 * math.sin(1e4 * x) end), 100).lr)
    assert.is_nil(lr_find.suggest({}, 100).lr)
    assert.is_nil(lr_find.suggest({ { lr = 1, loss = 1, smoothed = 1 } }, 100).lr)
  end)
  it("takes the last rate as the minimum where the loss falls to the end", function()
    local found = lr_find.suggest(curve(100, function(x) return 1 - 0.2 * (x + 4) end), 100)
    assert.equal(1.0, found.minimum)
    assert.is_true(found.lr < 1 and found.lr > 0.01, tostring(found.lr))
  end)
end)

describe("a search", function()
  local d = coloured.photos(work, 15, 24)

  -- The losses of the same steps, each by a trainer of its own: plain SGD has no state.
  local function by_hand(net, rates, batch_size)
    local losses, clone, steps, ordinal = {}, net:clone(), 0, core.fit() + 1
    core.fit(ordinal) -- of the fit that would be next
    for epoch = 1, 100 do
      for x, y in d.train:batches { net = clone, batch_size = batch_size, shuffle = true, epoch = epoch } do
        steps = steps + 1
        if steps > #rates then
          return losses, clone
        end
        losses[steps] = graft.trainer(clone, { optimizer = graft.sgd { lr = rates[steps] } }):step(x, y)
        core.fit(ordinal)
      end
    end
  end

  it("makes the very steps that one would make by hand", function()
    local net = coloured.network(d)
    local found = graft.lr_find(net, d, { optimizer = graft.sgd { lr = 7 }, steps = 20, batch_size = 4, start = 1e-3,
      stop = 0.5, cache = "none" })
    local rates = {}
    for i, point in ipairs(found.points) do
      rates[i] = point.lr
    end
    assert.same(lr_find.rates(1e-3, 0.5, 20), rates)
    local losses = by_hand(net, rates, 4)
    for i, point in ipairs(found.points) do
      assert.equal(losses[i], point.loss, "step " .. i)
    end
    assert.equal("stop", found.ended)
    assert.same(lr_find.suggest(found.points, 20).minimum, found.minimum)
  end)

  it("with kept features, other optimisers and options too", function()
    for i, options in ipairs { {}, { optimizer = graft.adamw { lr = 1 } }, { optimizer = graft.rmsprop { lr = 1 }, clip = 1 },
      { augment = "light" }, { bn = "fixed", loss = graft.nn.cross_entropy { label_smoothing = 0.1 } }, { prefix = "bf16" } } do
      local net = coloured.network(d)
      net:freeze(i % 2 == 1 and "body" or "conv1")
      options.steps, options.batch_size = 12, 5
      local before, draws, ordinal = net:digest(), core.draws(), core.fit()
      local found = graft.lr_find(net, d, options)
      assert.equal(before, net:digest())
      assert.same({ draws, ordinal }, { core.draws(), core.fit() })
      assert.equal(12, #found.points)
    end
    local net = coloured.network(d):freeze "body"
    local kept = graft.lr_find(net, d, { steps = 20, batch_size = 4, start = 1e-3 })
    local fresh = graft.lr_find(net, d, { steps = 20, batch_size = 4, start = 1e-3, cache = "none" })
    for i, point in ipairs(kept.points) do
      assert.near(fresh.points[i].loss, point.loss, 1e-4)
    end
  end)

  it("ends where the loss runs away, and says so", function()
    local found = graft.lr_find(coloured.network(d), d, { steps = 60, batch_size = 5, stop = 1e30 })
    assert.is_true(found.ended == "worse" or found.ended == "number")
    assert.is_true(#found.points < 60)
    local wild = graft.lr_find(coloured.network(d), d, { steps = 30, batch_size = 5, loss = function(logits)
      return 0 / 0, logits * 0
    end })
    assert.equal("number", wild.ended)
    assert.equal(0, #wild.points)
    assert.contains("no suggestion", tostring(wild))
    assert.error_matches(function() return wild.lr end, "no suggestion")
  end)

  it("draws its curve within 80 columns and writes a page", function()
    local found = graft.lr_find(coloured.network(d), d, { steps = 60, batch_size = 5 })
    local text = tostring(found)
    for line in text:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 100, line)
    end
    assert.contains("learning rate", text)
    assert.contains(("optimizer = graft.sgd { lr = %g, momentum = 0.9 }"):format(found.lr), text)
    local path = work .. "/lr.html"
    graft.report(found, path)
    local page = io.open(path):read "a"
    assert.contains("<svg", page)
    assert.contains(found.optimizer, page)
    assert.error_matches(function() return found.steepst end, "steepest")
  end)

  it("refuses what cannot be searched, in its own name", function()
    local net = coloured.network(d)
    for message, options in pairs { ["stop = 0.1 is not above start = 0.2"] = { start = 0.2, stop = 0.1 },
      ["start is a rate above 0"] = { start = 0 }, ["steps is from 10"] = { steps = 2 },
      ["no option \"epochs\""] = { epochs = 2 },
      ["batch_size 99 is more than"] = { batch_size = 99 }, ["cache must be"] = { cache = "sometimes" } } do
      assert.error_matches(function() graft.lr_find(net, d, options) end, "graft.lr_find.*" .. message:gsub("%p", "%%%0"))
    end
    assert.error_matches(function() graft.lr_find(net:clone():freeze "*", d) end, "graft.lr_find: every layer is frozen")
    assert.error_matches(function() graft.lr_find(net, {}) end, "graft.lr_find: expected a data set")
  end)

  it("leaves everything as it was when it is interrupted", function()
    local net, calls = coloured.network(d), 0
    local before, draws, ordinal = net:digest(), core.draws(), core.fit()
    local ok = pcall(graft.lr_find, net, d, { steps = 30, batch_size = 5, loss = function(logits, y, b)
      calls = calls + 1
      graft.rand(3)
      if calls == 7 then
        error("stop", 0)
      end
      return graft.nn.cross_entropy {}(logits, y, b)
    end })
    assert.is_false(ok)
    assert.same({ before, draws, ordinal }, { net:digest(), core.draws(), core.fit() })
    net:reinit "fc" -- nothing holds it
  end)

  os.execute(("rm -rf '%s'"):format(work))
end)
