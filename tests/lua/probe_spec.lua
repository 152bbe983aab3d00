-- Probes and the advice that reads them.
local helpers = require "helpers"
local graft = require "graft"
local core = require "graft.core"
local advise = require "graft.advise"
local probes = require "graft.probe"

local photos = helpers.photos("probed", { "mugs", "bowls", "plates" }, 14)
local weights = helpers.weights()
local d = graft.data.folder(photos, { val = 0.2 })

local function net()
  return graft.load(weights)
end

describe("graft.probe", function()
  local p = graft.probe(net(), d, { folds = 3 })

  it("measures each stage but the first, with parts of the photos, on the photos to train on alone", function()
    local stages = net().stages
    assert.equal(#stages - 1, #p.depths)
    for i, depth in ipairs(p.depths) do
      assert.equal(stages[i + 1], depth.layer)
      assert.truthy(depth.low <= depth.accuracy and depth.accuracy <= depth.high)
    end
    assert.equal(#d.train, p.count)
    assert.equal(3 * #p.depths, #p.curve)
    assert.same({ 0.1, 0.3, 1 }, { p.curve[1].fraction, p.curve[2].fraction, p.curve[3].fraction })
    assert.equal(p.depths[1].accuracy, p.curve[3].accuracy)
    local own = {}
    for i = 1, #d.train do
      own[d.train[i].file] = true
    end
    for _, file in ipairs(probes.details(p).files) do
      assert.truthy(own[file], file)
    end
  end)

  it("gives the same numbers again, also where features are found and not computed", function()
    local again = graft.probe(net(), d, { folds = 3 })
    assert.same(p.curve, again.curve)
    core.threads(1)
    local alone = graft.probe(net(), d, { folds = 3, fractions = { 1 } })
    core.threads(0)
    assert.same(p.depths, alone.depths)
    assert.equal(tostring(p), tostring(again))
  end)

  it("names the best depth, of equals the deepest", function()
    local best
    for _, depth in ipairs(p.depths) do
      best = (not best or depth.accuracy >= best.accuracy) and depth or best
    end
    assert.equal(best.layer, p.best)
    assert.contains("best", tostring(p))
  end)

  it("knows what colours the photos are from what a layer sees of them", function()
    local q = graft.probe(net(), d, { at = { "layer4", "conv1" }, pool = "avg+max", folds = 4, fractions = { 0.5 } })
    assert.same({ "conv1", "layer4" }, { q.depths[1].layer, q.depths[2].layer })
    assert.truthy(q.depths[1].accuracy > 0.9, q.depths[1].accuracy)
    assert.equal(4, #q.curve)
    assert.equal(2 * graft.embed(net(), d.train, { at = "conv1" }).shape[2], q.depths[1].features)
    assert.equal(4 * graft.embed(net(), d.train, { at = "conv1" }).shape[2],
      graft.probe(net(), d, { at = "conv1", pool = "grid=2", folds = 2 }).depths[1].features)
  end)

  it("tells what the old classes know, while the network has its own head", function()
    assert.truthy(p.pretraining.classes > 1 and p.pretraining.agreement > 0 and p.pretraining.agreement <= 1)
    assert.truthy(p.pretraining.spread >= 1)
    assert.equal(nil, graft.probe(net():replace_head(d), d, { folds = 2 }).pretraining)
  end)

  it("refuses what it cannot measure, and says why", function()
    local function refused(pattern, ...)
      local arguments = { ... }
      assert.error_matches(function()
        graft.probe(table.unpack(arguments))
      end, pattern)
    end
    refused("folds must be from 2 to", net(), d, { folds = 1 })
    refused("folds must be from 2 to", net(), d, { folds = 1000 })
    refused("fractions must be above 0", net(), d, { fractions = { 0 } })
    refused('pool must be "avg"', net(), d, { pool = "mean" })
    refused("layr4.*layer4", net(), d, { at = "layr4" })
    refused("expected a data set", net(), d.train)
    refused("a grid must have", net(), d, { pool = "grid=99" })
    refused("at names no layer", net(), d, { at = {} })
    refused('nearest: "folds"', net(), d, { fold = 3 })
    assert.error_matches(function()
      return p.depth
    end, 'nearest: "depths"')
    local several = graft.data.list { { image = d.train[1].file, class = "a" }, { image = d.train[2].file, class = "b" },
      { image = d.train[3].file, class = "b" } }
    refused("class a has 1 photo to train on; a probe needs at least 2", net(), several, { folds = 2 })
  end)

  it("is told as a page, as text, and by the command", function()
    local page = helpers.path "probe.html"
    graft.report(p, page)
    assert.contains("<svg", helpers.read(page))
    graft.report(p, helpers.path "probe.txt")
    assert.contains(p.best, helpers.read(helpers.path "probe.txt"))
    local document = helpers.json { "probe", weights, photos, "--json", "--quiet", "--folds", "3", "--at", "layer1,layer4",
      "--fractions", "0.5,1", "--plot", helpers.path "plot.svg" }
    assert.equal(2, #document.depths)
    assert.equal(4, #document.curve)
    for _, depth in ipairs(document.depths) do
      helpers.has_keys(depth, { "layer", "features", "accuracy", "low", "high" })
    end
    helpers.has_keys(document.curve[1], { "fraction", "layer", "accuracy" })
    helpers.has_keys(document.advice, { "data", "similarity", "action", "from", "why", "confidence" })
    assert.contains("<svg", helpers.read(helpers.path "plot.svg"))
    helpers.refused({ "probe", weights }, 2, "graft probe MODEL DATA")
    helpers.refused({ "probe", weights, photos, "--plot", "a.png" }, 2, ".svg or .html")
    helpers.refused({ "probe", weights, photos, "--fractions", "a" }, 2, "--fractions")
    helpers.refused({ "probe", weights, photos, "--write", "a.txt" }, 2, ".lua")
    local own = helpers.recipe "-- mine"
    helpers.refused({ "probe", weights, photos, "--write", own }, 1, "exists already, and graft probe did not write it")
    assert.equal("-- mine", helpers.read(own))
    for _ = 1, 2 do -- its own is written again
      helpers.done { "probe", weights, photos, "--quiet", "--folds", "2", "--write", helpers.path "again.lua" }
    end
  end)

  it("ends a planning, since its numbers are measured", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local p = graft.probe(graft.load(%q), graft.data.folder(%q), {})
      print("measured", p.best)
    ]]):format(weights, photos))
    local result = helpers.done { "plan", recipe }
    assert.contains("graft.probe", result.out .. result.err)
    assert.falsy(result.out:find "measured")
  end)
end)

-- ---- advice ----

-- Details of a probe: accuracies of depths a, b, c, d over n photos of `classes`; the first photos of each are right.
local function details(spec)
  local n, classes = spec.n or 240, {}
  local p = { classes = classes, counts = {}, count = n, depths = {}, outcomes = {}, fractions = { 0.3, 1 },
    accuracy = { [0.3] = {}, [1] = {} },
    pretraining = spec.agreement and { classes = 1000, agreement = spec.agreement, spread = 9 },
    network = { stages = { "stem", "a", "b", "c", "d" } } }
  for i = 1, spec.classes or 4 do
    classes[i] = "class " .. i
    p.counts[classes[i]] = n // (spec.classes or 4)
  end
  for i, accuracy in ipairs(spec) do
    local name, outcomes, right = ("abcd"):sub(i, i), {}, math.floor(accuracy * n + 0.5)
    for k = 1, n do
      outcomes[k] = k <= right and 1 or 0
    end
    local low, high = core.interval(right, n)
    p.depths[i] = { layer = name, accuracy = accuracy, low = low, high = high, features = 8 }
    p.outcomes[name], p.accuracy[1][i], p.accuracy[0.3][i] = outcomes, accuracy, accuracy - (spec.gain or 0.03)
    p.best = (not p.best or accuracy >= p.depths[#p.depths - 1].accuracy) and accuracy >= math.max(table.unpack(spec)) and name
      or p.best or name
  end
  return p
end

describe("graft.advise", function()
  local function decided(spec)
    local a = advise.decide(details(spec))
    return { a.data, a.similarity, a.action, a.from }, a
  end

  it("little data, like the pretraining: the head only", function()
    local got, a = decided { 0.5, 0.6, 0.8, 0.92, agreement = 0.85 }
    assert.same({ "little", "similar", "head" }, got)
    assert.equal("high", a.confidence)
    assert.contains("what ImageNet taught fits your photos", a.why)
  end)
  it("little data, like it, with much left to gain: the top too, gently", function()
    local got, a = decided { 0.5, 0.6, 0.8, 0.86, agreement = 0.8 }
    assert.same({ "little", "similar", "fine_tune", "c" }, got)
    assert.contains("may leave up to 19 % of the photos wrong (95 % interval): enough to gain", a.why)
    local text = require("graft.advised_recipe").text(a)
    assert.contains('net:unfreeze { "c", "d", bn = "fixed" }', text)
  end)
  it("little data, unlike it: a classifier at the depth where the features fit", function()
    local got, a = decided { 0.7, 0.93, 0.85, 0.7, agreement = 0.4 }
    assert.same({ "little", "different", "cut", "b" }, got)
    assert.contains("falls by 23 points", a.why)
  end)
  it("much data, like it: fine-tune the top", function()
    assert.same({ "much", "similar", "fine_tune", "c" }, (decided { 0.5, 0.6, 0.8, 0.92, n = 4000, agreement = 0.85 }))
  end)
  it("much data, unlike it: fine-tune everything, or start from scratch where the features are poor", function()
    assert.same({ "much", "different", "fine_tune", "stem" }, (decided { 0.8, 0.85, 0.75, 0.7, n = 4000, agreement = 0.3 }))
    assert.same({ "much", "different", "scratch" }, (decided { 0.5, 0.55, 0.5, 0.45, n = 12000, agreement = 0.26 }))
  end)
  it("says that it does not know where the numbers do not tell", function()
    local got, a = decided { 0.26, 0.25, 0.27, 0.24 }
    assert.equal("unknown", got[3])
    assert.contains("No depth does better than always saying the commonest class", a.why)
    got, a = decided { 0.5, 0.6, 0.65, 0.7, n = 24, classes = 2 }
    assert.equal("unknown", got[3])
    assert.equal("low", a.confidence)
    assert.contains("depths cannot be told apart", a.why)
  end)
  it("is less sure where the two signs of likeness differ", function()
    local _, a = decided { 0.6, 0.93, 0.8, 0.7, agreement = 0.9 }
    assert.equal("low", a.confidence)
    assert.truthy(a.doubt)
  end)
  it("does not take old classes for a sign of unlike photos where each was named for a few photos only", function()
    local p = details { 0.5, 0.6, 0.8, 0.92, agreement = 0.4 }
    assert.equal("different", advise.decide(p).similarity)
    p.pretraining.spread = 100
    assert.equal("similar", advise.decide(p).similarity)
  end)
  it("leaves what is nearly solved to a head", function()
    assert.equal("head", (decided { 0.7, 0.8, 0.9, 0.985, n = 4000, agreement = 0.95 })[3])
  end)

  it("compares depths photo by photo by the exact test of McNemar", function()
    local function chance(only_a, only_b)
      local a, b = {}, {}
      for i = 1, 200 do
        a[i] = i <= only_a and 1 or 0
        b[i] = i > only_a and i <= only_a + only_b and 1 or 0
      end
      return advise.compare(a, b)
    end
    local difference, luck = chance(6, 1)
    assert.truthy(math.abs(difference - 5 / 200) < 1e-12)
    assert.truthy(math.abs(luck - 0.125) < 1e-9) -- 2 (1 + 7) / 2^7
    assert.truthy(math.abs(select(2, chance(10, 0)) - 2 / 1024) < 1e-9)
    assert.equal(1, (select(2, chance(5, 5))))
    assert.equal(1, (select(2, chance(0, 0))))
  end)

  it("writes a recipe for every action that runs, and applies the same to a network", function()
    for _, case in ipairs { { "head" }, { "cut", "layer2" }, { "fine_tune", "layer3" }, { "fine_tune", "conv1" }, { "scratch" },
      { "unknown" } } do
      local advice = { action = case[1], from = case[2], stages = net().stages, classes = d.classes, sentences = { "Because." } }
      local text = require("graft.advised_recipe").text(advice)
      local out = helpers.fresh "advised"
      local result = helpers.done { "run", helpers.recipe(text), "--data", photos, "--weights", weights, "--epochs", "1",
        "--quiet", "--out", out }
      assert.contains("accuracy", result.out)
      local ready = require("graft.advised_recipe").apply(advice, net(), d)
      assert.same(d.classes, ready.classes)
      local trained = {}
      for name, layer in ready:layers() do
        if layer.parameters > 0 and not layer.frozen then
          trained[#trained + 1] = name
        end
      end
      local first = case[1] == "scratch" and "conv1" or case[1] == "fine_tune" and case[2] or ready.head
      assert.equal(first, trained[1]:sub(1, #first), case[1])
    end
  end)

  it("is what the command prints, and gives what the fields promise", function()
    local result = helpers.done { "probe", weights, photos, "--quiet", "--folds", "3", "--write", helpers.path "mine.lua" }
    for _, piece in ipairs { "like the pretraining", "You are here", "Why ", "Do ", "Written to", "next " } do
      assert.contains(piece, result.out)
    end
    local a = graft.advise(graft.probe(net(), d, { folds = 3 }))
    assert.equal(helpers.read(helpers.path "mine.lua"), a:recipe())
    assert.contains(a.why:match "^[^.]+", (result.out:gsub("%s+", " ")))
    assert.error_matches(function()
      return a["do"]
    end, "no")
    assert.error_matches(function()
      graft.advise {}
    end, "expected what graft.probe gave")
    assert.error_matches(function()
      a:apply(net(), 5)
    end, "expected a network and a data set")
  end)
end)
