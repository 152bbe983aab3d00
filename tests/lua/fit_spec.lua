-- Training from Lua: what fit takes and returns, checkpoints, callbacks, several labels, auxiliary classifiers, losses and
-- layers written in Lua, loops of one's own. The recipes that come with Graft are in gallery_spec.lua.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()

local function recipe(name)
  return ("%s/lua/recipes/%s.lua"):format(helpers.tests, name)
end

local function run(name, ...)
  return { "run", recipe(name), "--data", photos, "--weights", weights, "--out", helpers.fresh "run", ... }
end

-- A recipe with data `d`, a function `fresh()` that gives a loaded network, and `say(name, value)`.
local function told_by(text, ...)
  return helpers.told_by(([[
    local d = graft.data.folder(%q)
    local function fresh(classes) return graft.load(%q):replace_head(classes or d):freeze "body" end
    local function say(name, value) print(name .. " " .. (tostring(value):gsub("\n", " "))) end
    local function refused(f, ...)
      local ok, problem = pcall(f, ...)
      assert(not ok, "it was taken")
      return (tostring(problem):gsub("\n", " "))
    end
    local sgd = graft.sgd { lr = 0.1, momentum = 0.9 }
  ]]):format(photos, weights) .. text, { "--quiet", ... })
end

describe("what users write:", function()
  it("probe, advice, act", function()
    local result = helpers.done(run "probe")
    for _, piece in ipairs { "held-out folds", "You are here", "accuracy" } do
      assert.contains(piece, result.out)
    end
  end)
  it("scratch or pretrained, as far as the time goes", function()
    local words = run("study", "--hours", "1e-9", "--quiet")
    assert.contains("not_converged", helpers.done(words).out)
    assert.contains("<svg", helpers.read(words[8] .. "/study.html"))
  end)
  it("a guest in another program", function()
    local model = helpers.path "runs/mine-1"
    helpers.done { "run", "head_only", "--data", photos, "--weights", weights, "--out", model, "--epochs", "1", "--quiet" }
    core.write(helpers.path "upload.jpg", helpers.read(photos .. "/mugs/1.jpg"))
    local told = os.getenv "LD_PRELOAD"
    local command = ("cd '%s'; LUA_CPATH='%s' %s lua5.4 '%s' 2>&1"):format(helpers.root,
      helpers.program:gsub("graft$", "?.so"), told and "LD_PRELOAD=" .. told or "", recipe "guest")
    assert.matches("^%a+\t[01]%.%d+$", helpers.shell(command))
  end)
end)

describe("what fit returns", function()
  it("has the fields of the contract, and refuses misspelt ones", function()
    local t = told_by [[
      local net = fresh()
      local run = graft.fit(net, d, { name = "one", epochs = 3, optimizer = sgd })
      say("name", run.name) say("rows", #run.epochs) say("row", run.epochs[2].epoch)
      say("val", run.epochs[3].val_accuracy) say("stopped", run.stopped) say("kept", run.kept)
      say("best", run.best.epoch) say("last", run.last.epoch) say("heads", #run.heads)
      say("cache", run.cache.mode) say("skipped", #run.skipped)
      say("digests", run.frozen_digest_before == run.frozen_digest_after)
      say("digest", run.digest == net:digest())
      say("memory", run.peak_memory > 0) say("seconds", run.seconds > 0)
      say("typo", refused(function() return run.best.val_acuracy end))
      say("typo2", refused(function() return run.stoped end))
      say("text", tostring(run))
    ]]
    assert.same({ "one", 3, 2, "done", "best", 3 }, { t.name, t.rows, t.row, t.stopped, t.kept, t.last })
    assert.is_number(t.val)
    assert.is_number(t.best)
    assert.same({ 0, 0 }, { t.heads, t.skipped })
    assert.is_string(t.cache)
    assert.same({ "true", "true", "true", "true" }, { t.digests, t.digest, t.memory, t.seconds })
    assert.contains('nearest: "val_accuracy"', t.typo)
    assert.contains('nearest: "stopped"', t.typo2)
    assert.contains("accuracy", t.text)
  end)

  it("is the best epoch, or the last", function()
    local t = told_by [[
      for _, keep in ipairs { "best", "last" } do
        local net = fresh()
        local run = graft.fit(net, d, { epochs = 6, keep = keep, optimizer = graft.sgd { lr = 3 } })
        local held = graft.evaluate(net, d.val)
        say(keep .. ".accuracy", held.accuracy == (keep == "best" and run.best or run.last).val_accuracy)
        say(keep .. ".loss", math.abs(held.loss - (keep == "best" and run.best or run.last).val_loss) < 1e-6)
        say(keep .. ".kept", run.kept)
        say(keep .. ".file", graft.load(graft.out(keep .. ".safetensors")):digest() == net:digest())
        local first
        for _, row in ipairs(run.epochs) do
          if not first or row.val_accuracy > first.val_accuracy then first = row end
        end
        say(keep .. ".first", first.epoch == run.best.epoch)
      end
      local net = fresh()
      say("none", graft.fit(net, d, { epochs = 2, val = false, optimizer = sgd }).kept)
    ]]
    for _, keep in ipairs { "best", "last" } do
      assert.equal(keep, t[keep .. ".kept"])
      for _, what in ipairs { ".accuracy", ".loss", ".file", ".first" } do
        assert.equal("true", t[keep .. what], keep .. what)
      end
    end
    assert.equal("last", t.none)
  end)

  it("stops for patience and for on_epoch", function()
    local t = told_by [[
      local tiny = graft.sgd { lr = 1e-9 }
      local run = graft.fit(fresh(), d, { epochs = 9, patience = 2, optimizer = tiny })
      say("patience", run.stopped) say("epochs", #run.epochs)
      run = graft.fit(fresh(), d, { epochs = 9, optimizer = sgd, on_epoch = function(row)
        return row.epoch == 2 and "stop" or nil
      end })
      say("on_epoch", run.stopped) say("two", #run.epochs)
      local net = fresh()
      say("change", refused(graft.fit, net, d, { epochs = 2, optimizer = sgd, on_epoch = function() net:unfreeze "layer4" end }))
      say("answer", refused(graft.fit, fresh(), d, { epochs = 2, optimizer = sgd, on_epoch = function() return "stopp" end }))
      say("typo", refused(graft.fit, fresh(), d, { epochs = 2, optimizer = sgd, on_epoch = function(r) return r.val_los end }))
    ]]
    assert.same({ "patience", 3, "on_epoch", 2 }, { t.patience, t.epochs, t.on_epoch, t.two })
    assert.contains("start another fit", t.change)
    assert.contains('"stop"', t.answer)
    assert.contains("val_loss", t.typo)
  end)

  it("says which optimiser it takes when none is given", function()
    local _, result = told_by([[
      graft.fit(fresh(), d, { epochs = 1 })
    ]], "--quiet=false")
    assert.contains("sgd lr 0.01 momentum 0.9", result.err)
  end)
end)

describe("fit", function()
  it("matches classes by name", function()
    local t = told_by(([[
      local other = graft.data.folder(%q, { classes = { "plates", "bowls", "mugs" } })
      local net = fresh()
      graft.fit(net, other, { epochs = 12, optimizer = sgd })
      say("order", table.concat(net.classes, " "))
      say("same", graft.evaluate(net, d.train).accuracy == graft.evaluate(net, other.train).accuracy)
      say("right", graft.evaluate(net, d.train).accuracy > 0.8)
      say("wrong", refused(graft.fit, graft.load(%q), d, { epochs = 1, optimizer = sgd }))
      say("subset", refused(graft.fit, fresh { "bowls", "mugs" }, d, { epochs = 1, optimizer = sgd }))
    ]]):format(photos, weights))
    assert.equal("bowls mugs plates", t.order)
    assert.same({ "true", "true" }, { t.same, t.right })
    assert.contains("net:replace_head(", t.wrong)
    assert.contains('"plates"', t.subset)
  end)

  it("refuses options that are misspelt, impossible or meaningless", function()
    local t = told_by [[
      local net = fresh()
      local function fit(options)
        options.epochs, options.optimizer = options.epochs or 1, options.optimizer or sgd
        return refused(graft.fit, net, d, options)
      end
      say("typo", fit { epoch = 3 })
      say("big", fit { batch_size = 25 })
      say("zero", fit { epochs = 0 })
      say("negative", fit { batch_size = -1 })
      say("keep", fit { keep = "bst" })
      say("augment", fit { augment = "ligth" })
      say("optimizer", fit { optimizer = { lr = 1 } })
      say("monitor", fit { monitor = "val_acuracy" })
      say("clip", fit { clip = -1 })
      say("lr", refused(graft.sgd, { lr = 0 }))
      say("nolr", refused(graft.adamw, {}))
      say("scale", refused(net.lr_scale, net, { { "*", 0 } }))
      say("frozen", refused(graft.fit, fresh():freeze "*", d, { epochs = 1, optimizer = sgd }))
      say("data", refused(graft.fit, net, d.train, { epochs = 1, optimizer = sgd }))
      say("net", refused(graft.fit, d, net, { epochs = 1, optimizer = sgd }))
      say("clamped", graft.fit(net, d, { epochs = 1, optimizer = sgd }).stopped)
    ]]
    assert.contains('nearest: "epochs"', t.typo)
    assert.matches("batch_size 25 .* 24 photos", t.big)
    assert.contains("at least 1", t.zero)
    assert.contains("at least 1", t.negative)
    assert.contains("best", t.keep)
    assert.contains('"ligth"', t.augment)
    assert.contains("graft.sgd{", t.optimizer)
    assert.contains("val_accuracy", t.monitor)
    assert.contains("clip", t.clip)
    assert.contains("freeze", t.lr)
    assert.contains("lr is required", t.nolr)
    assert.contains("freeze", t.scale)
    assert.contains("nothing to train", t.frozen)
    assert.contains("data set", t.data)
    assert.contains("network", t.net)
    assert.equal("done", t.clamped)
  end)

  it("follows its schedule", function()
    local t = told_by [[
      local run = graft.fit(fresh(), d, { epochs = 4, batch_size = 8, optimizer = sgd,
        schedule = graft.cosine { warmup = 0.25 } })
      say("first", run.epochs[1].lr < 0.1) say("later", run.epochs[2].lr) say("last", run.epochs[4].lr < run.epochs[3].lr)
      run = graft.fit(fresh(), d, { epochs = 4, optimizer = sgd, schedule = graft.step { every = 2, factor = 0.1 } })
      say("step", ("%.3f %.3f %.3f"):format(run.epochs[1].lr, run.epochs[2].lr, run.epochs[3].lr))
    ]]
    assert.same({ "true", "true" }, { t.first, t.last })
    assert.near(0.1, t.later, 0.02)
    assert.equal("0.100 0.100 0.010", t.step)
  end)

  it("trains rates per layer: a tenth of the rate moves a tenth as far", function()
    local function moved(scale)
      return told_by(([[
        local net = fresh():unfreeze { "layer4", bn = "fixed" }:lr_scale { { "layer4", %g } }
        local x = graft.ones(1, 3, 16, 16)
        local before = net:features(x, "layer4")
        graft.fit(net, d, { epochs = 1, batch_size = #d.train, keep = "last", optimizer = graft.sgd { lr = 0.02 } })
        say("moved", (net:features(x, "layer4") - before):abs():max())
      ]]):format(scale)).moved
    end
    assert.near(10, moved(1) / moved(0.1), 0.2)
  end)

  it("writes the data's size into the model", function()
    local t = told_by(([[
      local small = graft.data.folder(%q, { size = 24 })
      local net = fresh()
      graft.fit(net, small, { epochs = 1, optimizer = sgd })
      local back = graft.load(graft.out "best.safetensors")
      say("shape", table.concat(back:preprocess(d.val[1].file).shape, ","))
    ]]):format(photos))
    assert.equal("1,3,24,24", t.shape)
  end)

  it("takes every augmentation, mixup's soft targets too", function()
    local t = told_by [[
      local a = graft.augment
      local list = { a.hflip {}, a.random_resized_crop { scale = { 0.5, 1 } }, a.color_jitter {}, a.rotation { degrees = 15 },
        a.random_erasing {}, a.mixup { alpha = 0.4 } }
      say("loss", graft.fit(fresh(), d, { epochs = 2, augment = list, optimizer = sgd }).last.train_loss)
      local soft = false
      for _, y in d.train:batches { batch_size = 8, shuffle = true, augment = list } do
        for i = 1, #y do
          soft = soft or y[i]:max() < 0.999
          assert(math.abs(y[i]:sum() - 1) < 1e-5)
        end
      end
      say("soft", soft)
    ]]
    assert.is_number(t.loss)
    assert.equal("true", t.soft)
  end)
end)

describe("graft.fine_tune", function()
  it("replaces the head itself and makes the two phases", function()
    local t, result = told_by(([[
      local net = graft.load(%q)
      local run = graft.fine_tune(net, d, { epochs = 4 })
      say("classes", table.concat(net.classes, " ")) say("name", run.name) say("epochs", #run.epochs)
      say("kept", run.kept)
    ]]):format(weights))
    assert.same({ "bowls mugs plates", "all", 4 }, { t.classes, t.name, t.epochs })
    local rows = helpers.csv(result.words:match "%-%-out (%S+)" .. "/metrics.csv")
    assert.equal("head", rows[1].name)
  end)
end)

describe("auxiliary classifiers", function()
  it("are trained, told apart, and leave by name", function()
    local t = told_by [[
      local net = fresh():unfreeze "layer3":add_aux("layer2", { weight = 0.5 }):add_aux("layer3", { weight = 0.2, hidden = 4 })
      local run = graft.fit(net, d, { epochs = 3, optimizer = sgd })
      say("heads", run.heads[1].layer .. " " .. run.heads[2].layer .. " " .. #run.heads)
      say("accuracy", run.heads[1].accuracy)
      say("row", run.epochs[1]["val_accuracy:layer2"])
      local out = net:forward(graft.zeros(1, 3, 16, 16), { heads = true })
      say("shapes", #out.head[1] .. #out.layer2[1] .. #out.layer3[1])
      net:save(graft.out "plain.safetensors") net:save(graft.out "whole.safetensors", { aux = true })
      say("evaluated", #graft.evaluate(net, d.val).heads)
      net:freeze "aux" net:remove_aux "layer2"
      say("left", #graft.evaluate(net, d.val).heads)
      net:remove_aux()
      say("refused", refused(net.add_aux, net, "layr2"))
    ]]
    assert.equal("layer2 layer3 2", t.heads)
    assert.is_number(t.accuracy)
    assert.is_number(t.row)
    assert.equal(333, t.shapes)
    assert.same({ 3, 2 }, { t.evaluated, t.left }) -- the main one too
    assert.contains('nearest: "layer2"', t.refused)
  end)
  it("train what is below them even when the rest above is frozen", function()
    local t = told_by [[
      local net = fresh():freeze "*":unfreeze "layer1":add_aux("layer2", {})
      local head = net:digest()
      local x = graft.ones(1, 3, 16, 16)
      local before = net:features(x, "layer1")
      graft.fit(net, d, { epochs = 1, optimizer = sgd })
      say("moved", not (net:features(x, "layer1") == before)) say("digest", net:digest() ~= head)
    ]]
    assert.same({ "true", "true" }, { t.moved, t.digest })
  end)
end)

describe("metrics.csv", function()
  it("gains columns when a later fit has more to say", function()
    local _, result = told_by [[
      graft.fit(fresh(), d, { name = 'a "b", c', epochs = 2, optimizer = sgd })
      graft.fit(fresh():add_aux("layer2", {}), d, { epochs = 1, optimizer = sgd })
      local tr = graft.trainer(fresh(), {})
      tr:log { epoch = 1, mine = 0.5, ["odd, name"] = 3, 7 }
    ]]
    local out = result.words:match "%-%-out (%S+)"
    local text = helpers.read(out .. "/metrics.csv")
    local commas
    for line in text:gsub('"a ""b"", c"', "abc"):gmatch "[^\n]+" do
      local count = select(2, line:gsub(",", ","))
      commas = commas or count
      assert.equal(commas, count, line)
    end
    assert.contains("val_accuracy:layer2", text)
    assert.contains("mine,odd_ name", text)
    assert.contains('1,"a ""b"", c",2,', text)
  end)
end)

describe("losses", function()
  it("written in Lua train as built-in ones do, and say what is wrong with them", function()
    local text = [[
      local hard = graft.nn.cross_entropy {}
      local function own(logits, y)
        local p = logits:softmax(2)
        return -(y * (p + 1e-12):log()):sum() / #y, (p - y) / #y
      end
      say("off", graft.nn.check(own, { 6, 3 }) < 0.02)
      local loss = ({ hard = hard, own = own,
        wrapped = function(logits, y, b) assert(#b.files == #y) return hard(logits, y) end })[WHICH]
      local last = graft.fit(fresh(), d, { epochs = 3, loss = loss, optimizer = sgd }).last
      say("train", last.train_loss) say("val", last.val_loss)
      say("wrong", refused(graft.nn.check, function(l, y) return (l * l):sum(), l end, { 4, 3 }))
      say("shape", refused(graft.fit, fresh(), d, { epochs = 1, optimizer = sgd, loss = function(l) return 1, l:sum(2) end }))
      say("nothing", refused(graft.fit, fresh(), d, { epochs = 1, optimizer = sgd, loss = function() end }))
      say("raises", refused(graft.fit, fresh(), d, { epochs = 1, optimizer = sgd, loss = function() error "mine" end }))
      say("nan", refused(graft.fit, fresh(), d, { epochs = 1, optimizer = sgd, loss = function(l) return 0 / 0, l end }))
      say("smooth", graft.fit(fresh(), d, { epochs = 1, optimizer = sgd,
        loss = graft.nn.cross_entropy { label_smoothing = 0.1, class_weights = { mugs = 2 } } }).stopped)
      say("class", refused(graft.fit, fresh(), d, { epochs = 1, optimizer = sgd,
        loss = graft.nn.cross_entropy { class_weights = { mug = 2 } } }))
      say("mse", graft.fit(fresh(), d, { epochs = 1, optimizer = sgd, loss = graft.nn.mse {} }).stopped)
    ]]
    local t = told_by('local WHICH = "hard"' .. text)
    for _, which in ipairs { "own", "wrapped" } do
      local other = told_by(("local WHICH = %q"):format(which) .. text)
      assert.near(t.train, other.train, 1e-5)
      assert.near(t.val, other.val, 1e-5)
    end
    assert.equal("true", t.off)
    assert.contains("finite differences", t.wrong)
    assert.contains("[", t.shape)
    assert.contains("number", t.nothing)
    assert.contains("mine", t.raises)
    assert.contains("not a number in step 1", t.nan)
    assert.same({ "done", "done" }, { t.smooth, t.mse })
    assert.contains("mugs", t.class)
  end)
end)

describe("layers written in Lua", function()
  local swish = [[
    local swish = graft.nn.layer { kind = "my_swish", shape = function(s) return s end,
      forward = function(x) local s = x:sigmoid() return x * s, s end,
      backward = function(gy, x, y, p, s) return gy * (s + y * (1 - s)), {} end }
    local function network()
      return graft.nn.network { name = "own", input = { 3, 16, 16 }, classes = { "bowls", "mugs", "plates" }, head = "fc",
        build = function(x)
          x = x:conv2d("conv", { out = 4, kernel = 3, stride = 2 }):apply("act", swish)
          return x:global_avg_pool():linear("fc", { out = 3 })
        end }
    end
  ]]
  it("are checked, trained, saved, and loaded where they are known", function()
    local t, result = told_by(swish .. [[
      say("check", graft.nn.check(swish, { 2, 4, 3, 3 }) < 0.02)
      local net = network()
      local run = graft.fit(net, d, { epochs = 4, optimizer = graft.adamw { lr = 0.01 } })
      say("learns", run.epochs[4].train_loss < run.epochs[1].train_loss)
      say("again", graft.load(graft.out "best.safetensors"):digest() == net:digest())
      local wrong = graft.nn.layer { kind = "wrong", forward = function(x) return x * x end,
        backward = function(gy, x) return gy * x, {} end }
      say("wrong", refused(graft.nn.check, wrong, { 2, 3 }))
    ]])
    assert.same({ "true", "true", "true" }, { t.check, t.learns, t.again })
    assert.contains("finite differences", t.wrong)
    helpers.refused({ "predict", result.words:match "%-%-out (%S+)" .. "/best.safetensors", photos .. "/mugs/1.jpg" }, 1,
      "my_swish")
  end)
  it("may have parameters, and freeze", function()
    local t = told_by [[
      local scale = graft.nn.layer { kind = "my_scale", shape = function(s) return s end,
        parameters = function(s) return { { name = "weight", shape = { s[1] } } } end,
        forward = function(x, p) return x * p.weight:reshape(1, -1, 1, 1) end,
        backward = function(gy, x, y, p)
          return gy * p.weight:reshape(1, -1, 1, 1), { (gy * x):sum(1):sum(2):sum(2) }
        end }
      local function network()
        return graft.nn.network { name = "own", input = { 3, 16, 16 }, classes = d, head = "fc", build = function(x)
          x = x:conv2d("conv", { out = 4, kernel = 3, stride = 2 }):apply("scale", scale):relu()
          return x:global_avg_pool():linear("fc", { out = 3 })
        end }
      end
      say("check", graft.nn.check(scale, { 2, 4, 3, 3 }) < 0.02)
      local half = graft.nn.layer { kind = "half_checked", parameters = scale.parameters, forward = scale.forward,
        backward = function(gy, x, y, p) return gy * p.weight:reshape(1, -1, 1, 1), { gy:sum(1):sum(2):sum(2) } end }
      say("wrong", refused(graft.nn.check, half, { 2, 4, 3, 3 }))
      for _, frozen in ipairs { "conv", "scale" } do
        local net = network():freeze(frozen)
        local run = graft.fit(net, d, { epochs = 2, optimizer = graft.sgd { lr = 0.1, weight_decay = 0.1 } })
        say(frozen, run.frozen_digest_before == run.frozen_digest_after)
      end
      local net = network()
      local run = graft.fit(net, d, { epochs = 5, optimizer = graft.adamw { lr = 0.02 } })
      say("learns", run.epochs[5].train_loss < run.epochs[1].train_loss)
    ]]
    assert.same({ "true", "true", "true", "true" }, { t.check, t.conv, t.scale, t.learns })
    assert.contains('with respect to its parameter "weight" is off', t.wrong)
  end)
end)

describe("batches", function()
  it("carry targets, names and files; other networks see the same photos", function()
    local t = told_by [[
      local net = fresh()
      local teacher = graft.nn.network { name = "t", input = { 3, 12, 12 }, classes = d, head = "fc",
        build = function(x) return x:conv2d("c", { out = 2, kernel = 3 }):global_avg_pool():linear("fc", { out = 3 }) end }
      local seen = 0
      for x, y, b in d.train:batches { net = net, batch_size = 7, shuffle = true, epoch = 2 } do
        seen = seen + #x
        assert(#x == #y and #b.files == #x and #b.classes == #x and b.epoch == 2)
        assert(table.concat(x.shape, ",", 2) == "3,16,16" and table.concat(b:input(teacher).shape, ",", 2) == "3,12,12")
        for i = 1, #y do assert(d.classes[y[i]:argmax()] == b.classes[i] and b.files[i]:find(b.classes[i], 1, true)) end
      end
      say("seen", seen) say("all", #d.train)
      local n = 0
      for _ in d.train:batches { batch_size = 7, drop_last = true } do n = n + 1 break end
      say("broken", n)
      say("typo", refused(function() return d.train:batches { batchsize = 3 } end))
      for _, _, b in d.train:batches { batch_size = 7 } do say("field", refused(function() return b.file end)) break end
    ]]
    assert.equal(t.all, t.seen)
    assert.equal(1, t.broken)
    assert.contains('nearest: "batch_size"', t.typo)
    assert.contains("files", t.field)
  end)
end)

describe("graft.trainer", function()
  it("takes names as targets, and freezing between steps", function()
    local t = told_by [[
      local net = fresh()
      local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1, momentum = 0.9, weight_decay = 0.1 } })
      local x = graft.randn(4, 3, 16, 16)
      local first = tr:step(x, { "mugs", "bowls", "plates", "mugs" })
      for _ = 1, 60 do tr:step(x, { "mugs", "bowls", "plates", "mugs" }) end
      say("less", tr:step(x, { "mugs", "bowls", "plates", "mugs" }) < first)
      say("name", refused(tr.step, tr, x, { "mugs", "bowls", "plates", "mug" }))
      net:unfreeze "layer4":freeze "head"
      local head, body = net:features(x, "fc"), net:features(x, "layer4")
      tr:step(x, { "mugs", "bowls", "plates", "mugs" })
      say("body", not (net:features(x, "layer4") == body))
      say("rate", tr.lr)
      say("accuracy", tr:evaluate(d.val).accuracy)
      say("hint", refused(function() tr:backward() end))
      say("eval", refused(function() net:eval() end))
      say("steps", tr.steps) say("shape", refused(tr.step, tr, graft.randn(2, 1, 16, 16), { "mugs", "mugs" }))
    ]]
    assert.same({ "true", "true" }, { t.less, t.body })
    assert.contains('"mug"', t.name)
    assert.near(0.1, t.rate, 1e-6)
    assert.is_number(t.accuracy)
    assert.contains("no tape", t.hint)
    assert.contains("always inference", t.eval)
    assert.equal(63, t.steps)
    assert.contains("[", t.shape)
  end)
  it("writes metrics, best and last, and resumes where it stopped", function()
    local function words(out, ...)
      return { "run", "custom_loop", "--data", photos, "--weights", weights, "--out", out, "--batch-size", "8",
        "--epochs", "4", ... }
    end
    local whole, parts = helpers.fresh "whole", helpers.fresh "parts"
    helpers.done(words(whole))
    helpers.interrupted(words(parts), { after = "epoch 2/4" })
    helpers.done(words(parts, "--resume"))
    local a, b = helpers.tensors(whole .. "/last.safetensors"), helpers.tensors(parts .. "/last.safetensors")
    for name, tensor in pairs(a) do
      assert.is_true(tensor == b[name], name)
    end
    assert.equal(4, #helpers.csv(parts .. "/metrics.csv"))
  end)
end)

describe("what C10 and C12 promise", function()
  it("holds in recipes", function()
    local t = told_by [[
      local net = fresh()
      say("empty", refused(net.unfreeze, net, table.unpack {}))
      say("glob", refused(net.freeze, net, "layr*"))
      say("part", refused(net.freeze, net, "layr3"))
      say("data", refused(function() return d.clases end))
      say("graft", refused(function() return graft.fitt end))
      say("net", refused(function() return net.clases end))
      net:freeze("*"):unfreeze("head", "layer4.*")
      local names = {}
      for name, layer in net:layers "layer4*" do names[#names + 1] = name .. (layer.frozen and "-" or "+") end
      say("layers", table.concat(names, " "))
    ]]
    assert.contains("no layer is named", t.empty)
    assert.contains("layr*", t.glob)
    assert.contains('nearest: "layer3"', t.part)
    assert.contains('nearest: "classes"', t.data)
    assert.contains('nearest: "fit"', t.graft)
    assert.contains('nearest: "classes"', t.net)
    assert.contains("layer4.conv+ layer4.bn+", t.layers)
  end)
end)

describe("graft.plan and graft.evaluate in Lua", function()
  it("change nothing", function()
    local t, result = told_by [[
      local net = fresh()
      local before = net:digest()
      graft.plan(net, d, { epochs = 3, optimizer = sgd, augment = "light" })
      local e = graft.evaluate(net, d.val)
      net:predict(d.val[1].file) graft.embed(net, d.val, {}) net:features(graft.zeros(1, 3, 16, 16), "layer1")
      say("same", net:digest() == before)
      say("field", refused(function() return e.acuracy end))
      local one = graft.fit(net, d, { epochs = 2, optimizer = sgd, augment = "light" }).digest
      say("digest", one)
    ]]
    assert.equal("true", t.same)
    assert.contains('nearest: "accuracy"', t.field)
    assert.contains("phase 1", result.out)
    local plain = told_by [[say("digest", graft.fit(fresh(), d, { epochs = 2, optimizer = sgd, augment = "light" }).digest)]]
    assert.equal(plain.digest, t.digest, "random streams as they were")
  end)
end)
