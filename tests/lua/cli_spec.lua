-- The commands as a person types them: run, plan, predict, eval, embed, inspect, convert; what they print, write, and
-- how they end. The training itself is in fit_spec.lua.
local graft = require "graft"
local core = require "graft.core"
local format = require "graft.format"
local helpers = require "helpers"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()

-- A finished run that several tests look at.
local trained = helpers.path "trained"
helpers.done { "run", "head_only", "--data", photos, "--weights", weights, "--out", trained, "--epochs", "12", "--lr", "0.1" }
local model = trained .. "/best.safetensors"

local function common(name, ...)
  return { "run", name, "--data", photos, "--weights", weights, "--out", helpers.fresh "run", ... }
end

describe("graft run", function()
  it("leaves a run folder with all that there is to know", function()
    for _, name in ipairs { "recipe.lua", "recipe.lock", "metrics.csv", "best.safetensors", "last.safetensors", "report.txt" } do
      assert.truthy(core.stat(trained .. "/" .. name), name)
    end
    assert.equal(core.embedded "recipes/head_only.lua", helpers.read(trained .. "/recipe.lua"))
    local lock = core.parse_json(helpers.read(trained .. "/recipe.lock"))
    helpers.has_keys(lock, { "graft", "recipe", "weights", "data", "seed", "threads", "blas", "cpu", "digest" }, "recipe.lock")
    assert.equal(core.digest_file(weights), lock.weights[1].sha256)
    assert.equal(core.jpeg, lock.jpeg)
    assert.same({ "bowls", "mugs", "plates" }, lock.data[1].classes)
    local rows, columns = helpers.csv(trained .. "/metrics.csv")
    assert.equal(12, #rows)
    for i, name in ipairs { "fit", "name", "epoch", "train_loss", "val_loss", "val_accuracy" } do
      assert.equal(name, columns[i])
    end
    for i, row in ipairs(rows) do
      assert.same({ 1, i }, { row.fit, row.epoch })
      assert.is_number(row.train_loss)
      assert.is_number(row.val_loss)
    end
    assert.is_true(rows[12].train_loss < 0.9 * rows[1].train_loss, "it learns")
  end)

  it("says how it went, on stdout, and how it goes, on stderr", function()
    local result = helpers.done(common("head_only", "--epochs", "2"))
    for _, word in ipairs { "accuracy", "mistakes", "frozen", "spent", "kept", "next" } do
      assert.matches("\n" .. word .. " +%S", "\n" .. result.out)
    end
    assert.contains("epoch 1/2  loss ", result.err)
    assert.falsy(result.out:find "epoch 1/2")
    assert.equal("", helpers.done(common("head_only", "--epochs", "2", "--quiet")).err)
  end)

  it("says it in lines that the terminal has room for, but for a command to be copied", function()
    local rows = { { "spent", "5.1 s, 110 MiB; the cache saved 2 passes" }, { "kept", "some interval of 95 % of all" },
      { "next", "graft predict runs/mine-1/best.safetensors PHOTO" } }
    local wrapped = { "spent  5.1 s, 110 MiB; the", "       cache saved 2 passes", "kept   some interval of",
      "       95 % of all", "next   graft predict runs/mine-1/best.safetensors PHOTO" }
    assert.equal(table.concat(wrapped, "\n"), format.labelled(rows, 27, { next = true }))
    assert.contains("the cache saved 2 passes\n", format.labelled(rows))
  end)

  it("prints one JSON document, and nothing else, with --json", function()
    local document = helpers.json(common("fine_tune", "--head-epochs", "2", "--epochs", "3", "--seed", "9"))
    local fit_keys = { "name", "epochs", "seconds", "cache", "best", "last", "frozen_digest_before", "frozen_digest_after" }
    helpers.has_keys(document, { "out", "seed", "threads", "seconds", "peak_memory", "skipped", "digest", "fits" }, "run --json")
    helpers.has_keys(document, fit_keys, "run --json")
    assert.equal(9, document.seed)
    assert.equal(2, #document.fits)
    for i, fit in ipairs(document.fits) do
      helpers.has_keys(fit, fit_keys, "a fit")
      helpers.has_keys(fit.cache, { "mode", "layers", "bytes", "hits" }, "cache")
      helpers.has_keys(fit.best, { "epoch", "val_accuracy", "val_loss" }, "best")
      helpers.has_keys(fit.last, { "epoch", "train_loss", "val_accuracy", "val_loss" }, "last")
      assert.equal(({ "head", "all" })[i], fit.name)
      assert.equal(i + 1, fit.epochs)
      assert.equal(fit.frozen_digest_before, fit.frozen_digest_after)
      assert.matches("^" .. ("%x"):rep(64) .. "$", fit.frozen_digest_before)
    end
    assert.matches("^" .. ("%x"):rep(64) .. "$", document.digest)
    assert.same(document.fits[2].best, document.best)
    assert.equal("all", document.name)
  end)

  it("keeps earlier fits in fit-1", function()
    local out = helpers.fresh "run"
    helpers.done { "run", "fine_tune", "--data", photos, "--weights", weights, "--out", out, "--head-epochs", "2",
      "--epochs", "2" }
    for _, name in ipairs { "fit-1/best.safetensors", "fit-1/last.safetensors", "best.safetensors", "last.safetensors" } do
      assert.truthy(core.stat(out .. "/" .. name), name)
    end
    local rows = helpers.csv(out .. "/metrics.csv")
    assert.equal(4, #rows)
    assert.same({ 1, "head", 2 }, { rows[2].fit, rows[2].name, rows[2].epoch })
    assert.same({ 2, "all", 1 }, { rows[3].fit, rows[3].name, rows[3].epoch })
  end)

  it("takes --seed before the recipe's own", function()
    local recipe = helpers.recipe([[
      local graft = require "graft"
      graft.seed(5)
      local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
      local d = graft.data.folder(opt.data)
      graft.fit(graft.load(opt.weights):replace_head(d):freeze "body", d, { epochs = 1, optimizer = graft.sgd { lr = 0.01 } })
    ]])
    local own, again = helpers.json(common(recipe)), helpers.json(common(recipe, "--seed", "5"))
    local other = helpers.json(common(recipe, "--seed", "6"))
    assert.same({ 5, 5, 6 }, { own.seed, again.seed, other.seed })
    assert.equal(own.digest, again.digest)
    assert.not_equal(own.digest, other.digest)
  end)

  it("takes --threads before the recipe's own, and fit's resume as --resume", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local opt = graft.options { resume_it = false }
      graft.config { threads = 1 }
      local d = graft.data.folder(%q)
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 2, threads = 1, resume = opt.resume_it,
        optimizer = graft.sgd { lr = 0.01 } })
    ]]):format(photos, weights))
    local out = helpers.fresh "run"
    assert.equal(2, helpers.json({ "run", recipe, "--out", out, "--threads", "2" }).threads)
    assert.equal(1, helpers.json({ "run", recipe, "--out", helpers.fresh "run" }).threads)
    helpers.refused({ "run", recipe, "--out", out }, 1, "not empty")
    assert.equal(2, helpers.json({ "run", recipe, "--out", out, "--threads", "2", "--resume-it", "--trust" }).epochs)
    assert.equal(2, #helpers.csv(out .. "/metrics.csv"))
  end)

  it("resumes the latest run where --out does not say which", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 2, optimizer = graft.sgd { lr = 0.01 } })
    ]]):format(photos, weights), "latest.lua")
    local words = { "run", recipe, "--resume" }
    assert.equal("runs/latest-1", helpers.json(words).out)
    assert.equal("runs/latest-2", helpers.json({ "run", recipe }).out)
    assert.equal("runs/latest-2", helpers.json(words).out)
    assert.equal(2, #helpers.csv(helpers.path "runs/latest-2/metrics.csv"))
  end)

  it("refuses a folder that holds something, unless it resumes", function()
    local out = helpers.fresh "full"
    core.make_folder(out)
    helpers.write(out .. "/letter.txt", "dear")
    local words = { "run", "head_only", "--data", photos, "--weights", weights, "--out", out, "--epochs", "1" }
    helpers.refused(words, 1, { out, "not empty", "--resume" })
    assert.same({ "letter.txt" }, core.list(out))
    helpers.refused({ "run", "head_only", "--data", photos, "--weights", weights, "--out", out .. "/letter.txt" }, 1,
      "expected a folder")
    words[#words + 1] = "--resume"
    helpers.done(words)
    assert.equal("dear", helpers.read(out .. "/letter.txt"))
  end)

  it("names its folders runs/RECIPE-N by itself", function()
    local recipe = helpers.recipe([[
      local graft = require "graft"
      io.write(graft.out "x.txt")
    ]], "named.lua")
    assert.equal("runs/named-1/x.txt", helpers.done({ "run", recipe }).out)
    assert.equal("runs/named-2/x.txt", helpers.done({ "run", recipe }).out)
    helpers.refused({ "run", helpers.recipe 'require "graft".out "../x"' }, 1, "inside the run folder")
  end)

  it("shows a recipe's options with --help, sorted, and trains nothing", function()
    local text = helpers.done({ "run", "head_only", "--help" }).out
    assert.matches("%-%-batch%-size N .*%-%-data DIR .*%-%-epochs N .*%-%-lr X .*%-%-weights FILE", text)
    assert.contains("default 20", text)
    assert.contains("--resume", text)
  end)
end)

describe("wrong usage ends with 2", function()
  it("for options that a recipe does not have, with the nearest", function()
    helpers.refused({ "run", "head_only", "--epoch", "3" }, 2, { "head_only has no option --epoch",
      "nearest: --epochs (integer, default 20)", "graft run head_only --help" })
    helpers.refused({ "run", "head_only", "--epochs", "many" }, 2, { "--epochs", "whole number", '"many"' })
    helpers.refused({ "run", "head_only", "--epochs" }, 2, "--epochs needs a value")
    helpers.refused({ "run", "fine_tune", "--augment", "ligth" }, 2, 'nearest: "light"')
    helpers.refused({ "run", "head_only", "stray" }, 2, "stray")
  end)

  it("for --epochs where the recipe does not declare it, before anything is trained", function()
    local out = helpers.fresh "run"
    local recipe = helpers.recipe [[
      local graft = require "graft"
      local opt = graft.options { data = { type = "folder" } }
      error "the recipe went on"
    ]]
    helpers.refused({ "run", recipe, "--epochs", "3", "--out", out }, 2, "no option --epochs")
    local silent = helpers.recipe(('local graft = require "graft"\nlocal d = graft.data.folder(%q)\n'
      .. 'graft.fit(graft.load(%q):replace_head(d), d, {epochs = 1})'):format(photos, weights))
    helpers.refused({ "run", silent, "--epochs", "3", "--out", out }, 2, "declares no options")
    assert.is_nil(core.stat(out))
  end)

  it("for commands, and for what they need", function()
    helpers.refused({ "runn" }, 2, { '"runn"', "nearest: run" })
    helpers.refused({ "run" }, 2, "needs a recipe")
    helpers.refused({ "predict", model }, 2, "at least one photo")
    helpers.refused({ "eval", model }, 2, "graft eval MODEL DATA")
    helpers.refused({ "embed", model, photos }, 2, "--out FILE.npy")
    helpers.refused({ "inspect" }, 2, "graft inspect FILE")
    helpers.refused({ "convert", model }, 2, "two files")
    helpers.refused({ "predict", model, "a.jpg", "--tpo", "3" }, 2, "nearest: --top")
    helpers.refused({ "run", "head_only", "--threads", "0" }, 2, "--threads")
    helpers.refused({ "run", "head_only", "--seed", "x" }, 2, "--seed")
    helpers.refused({ "help", "fezeree" }, 2, "fezeree")
  end)

  it("and a number of threads that cannot be names the option and its range", function()
    helpers.refused({ "inspect", "x", "--threads", "99" }, 2, { "--threads: expected 1 to 64, got 99" })
    helpers.refused({ "inspect", "x", "--threads", "0" }, 2, { "--threads: expected 1 to 64" })
  end)

  it("and what is not there is told in one wording, with the nearest name in its folder", function()
    helpers.photos("near/photos", { "mugs" }, 2)
    helpers.write(helpers.path "near/model.safetensors", "x")
    helpers.write(helpers.path "near/own.lua", "x")
    for _, case in ipairs { { "inspect", "near/modle.safetensors", "near/model.safetensors" },
      { "predict", "near/modle.safetensors", "near/model.safetensors", "x.jpg" },
      { "convert", "near/modle.safetensors", "near/model.safetensors", "y.safetensors" },
      { "run", "near/owm.lua", "near/own.lua" }, { "plan", "near/owm.lua", "near/own.lua" } } do
      local result = helpers.refused({ case[1], case[2], table.unpack(case, 4) }, 1, { case[2] .. ": no such ",
        "; nearest: " .. case[3] })
      assert.is_nil(result.err:find "cannot be opened")
    end
    for _, trust in ipairs { "--trust", "--sandbox" } do -- the guest cannot look into the folder, the program outside can
      helpers.refused({ "run", "head_only", "--data", "near/photo", "--weights", "near/model.safetensors", trust }, 1,
        { "near/photo: no such folder", "nearest: near/photos" })
    end
    helpers.refused({ "inspect", "nowhere/at/all" }, 1, { "nowhere/at/all: no such file or folder" })
    helpers.refused({ "run", "haed_only" }, 1, { 'there is no recipe "haed_only"; nearest: head_only' })
  end)

  it("and embed writes .npy alone", function()
    helpers.refused({ "embed", "x", "y", "--out", "e.txt" }, 2, { "--out is a .npy file", "--out e.npy?" })
  end)

  it("and what excludes each other", function()
    helpers.refused({ "run", "head_only", "--sandbox", "--trust" }, 2, "--trust and --sandbox exclude each other")
  end)
end)

describe("a recipe", function()
  it("that reads an undefined global hears which line, and the nearest name", function()
    local recipe = helpers.recipe("local graft = require 'graft'\nlocal n = 3\nprint(pront)\n", "typo.lua")
    helpers.refused({ "run", recipe }, 1, { "typo.lua:3", '"pront"', 'nearest: "print"' })
  end)
  it("that is not Lua says where", function()
    helpers.refused({ "run", helpers.recipe("x = = 3\n", "broken.lua") }, 1, { "broken.lua:1", "does not compile" })
    helpers.refused({ "run", helpers.recipe("\27Lua", "binary.lua") }, 1, "binary.lua")
    helpers.refused({ "run", "none.lua" }, 1, "none.lua")
    helpers.refused({ "run", "hed_only" }, 1, "nearest: head_only")
  end)
  it("names file and line of a mistake; a traceback only with --trace", function()
    local recipe = helpers.recipe("local graft = require 'graft'\n\ngraft.load('nothing.pth')\n", "mistake.lua")
    helpers.refused({ "run", recipe }, 1, { "mistake.lua:3", "nothing.pth" })
    local traced = helpers.graft { "run", recipe, "--trace" }
    assert.equal(1, traced.status)
    assert.contains("stack traceback", traced.err)
  end)
  it("knows in which mode it runs", function()
    local recipe = helpers.recipe 'print(require "graft".mode)'
    assert.equal("run\n", helpers.done({ "run", recipe }).out)
    assert.contains("plan\n", helpers.done({ "plan", recipe }).out)
    assert.equal("prompt\n", helpers.done({ "-e", 'print(graft.mode)' }).out)
    assert.equal("module", graft.mode)
  end)
end)

describe("graft plan", function()
  it("shows every phase, trains and writes nothing", function()
    local out = helpers.fresh "planned"
    local result = helpers.done { "plan", "fine_tune", "--data", photos, "--weights", weights, "--out", out }
    assert.contains('phase 1 of 2 "head"', result.out)
    assert.contains('phase 2 of 2 "all"', result.out)
    for _, word in ipairs { "layer", "output", "parameters", "weights from", "state", "batch norm", "kernel", "trained", "memory",
      "time", "fc.weight" } do
      assert.contains(word, result.out)
    end
    assert.contains("Nothing was trained or written.", result.out)
    assert.is_nil(core.stat(out))
  end)
  it("has its keys as JSON", function()
    local plan = helpers.json { "plan", "head_only", "--data", photos, "--weights", weights }
    helpers.has_keys(plan, { "layers", "parameters", "trainable_parameters", "planned_memory", "seconds_per_epoch", "missing",
      "unused" }, "plan --json")
    assert.is_true(#plan.layers > 5)
    for _, row in ipairs(plan.layers) do
      helpers.has_keys(row, { "name", "kind", "shape", "parameters", "trainable", "lr_scale", "batch_norm", "kernel", "cached",
        "source", "why", "candidates" }, "a layer of plan --json")
    end
    assert.equal(16 * 3 + 3, plan.trainable_parameters)
    assert.is_true(plan.planned_memory > 0)
    assert.equal(2, #plan.unused)
  end)
  it("has all phases as JSON, the last one's keys at the top, and sums them up in words", function()
    local words = { "plan", "fine_tune", "--data", photos, "--weights", weights, "--head-epochs", "2", "--epochs", "3" }
    local plan = helpers.json(words)
    assert.equal(2, #plan.phases)
    local keys = { "layers", "parameters", "trainable_parameters", "planned_memory", "seconds_per_epoch", "missing", "unused",
      "name", "epochs", "cache", "seconds" }
    for i, phase in ipairs(plan.phases) do
      helpers.has_keys(phase, keys, "a phase")
      assert.same({ ({ "head", "all" })[i], i + 1 }, { phase.name, phase.epochs })
      assert.near(phase.seconds_once + phase.epochs * phase.seconds_per_epoch, phase.seconds, 1e-9)
    end
    assert.is_true(plan.phases[1].trainable_parameters < plan.phases[2].trainable_parameters)
    assert.is_true(plan.phases[1].layers[1].cached)
    assert.is_false(plan.phases[2].layers[1].cached)
    helpers.has_keys(plan, keys, "plan --json")
    assert.same({ "all", 3, 2, 1 }, { plan.name, plan.options.epochs, plan.options.head_epochs, plan.seed })
    local text = helpers.done(words).out
    assert.matches("\n2 phases together: about [%d.]+ %a+, [%d.]+ %a+ at the most\n", text)
    assert.falsy(text:find "planned, not trained")
    assert.contains("unused: fc.weight, fc.bias (the old head, 5 classes)", text)
  end)
  it("shows every layer with --layers", function()
    local words = { "plan", "head_only", "--data", photos, "--weights", weights }
    local stages = helpers.done(words).out
    words[#words + 1] = "--layers"
    local text = helpers.done(words).out
    assert.falsy(stages:find "layer3%.shortcut")
    assert.matches("\n  layer3%.shortcut +%[16,4,4%] +208 +mini%.safetensors +frozen +%- +%- +%a+ +|\n", text)
    assert.matches("\n  layer4%.bn +%[16,4,4%] +32 +mini%.safetensors +frozen +%- +fixed +%(folded%) +|\n", text)
    assert.matches("\n  global_avg_pool_1 +%[16%] +0 +%- +%- +%- +%- +global_avg_pool +here\n", text)
    assert.matches("\n  fc +%[3%] +51 +new, random +trained +0%.01 +%- +linear\n", text)
  end)
  it("tells what a cut leaves out of the file, and the phases before a mistake", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      local net = graft.load(%q):freeze "*":cut("layer1"):add_head(d)
      graft.fit(net, d, { epochs = 2 })
      graft.fit(net, d, { epochs = "many" })
    ]]):format(photos, weights))
    local result = helpers.refused({ "plan", recipe }, 1, { "many" })
    assert.matches("phase 1   2 epochs", result.out)
    assert.matches("\nweights +missing: none%.  unused: layer2.conv, [^\n]* %(cut off%) and 2 more", result.out)
    assert.falsy(result.out:find "Nothing was trained")
  end)
  it("shows what a loop of one's own trains, and where the plan ends", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      local net = graft.load(%q):replace_head(d):freeze "body"
      local tr = graft.trainer(net, { optimizer = graft.adamw { lr = 0.002 } })
      for e in tr:epochs(2) do
        for x, y in d.train:batches { net = net, batch_size = 6 } do tr:step(x, y) end
      end
    ]]):format(photos, weights))
    local text = helpers.done({ "plan", recipe }).out
    assert.contains("phase 1   a loop of its own, adamw lr 0.002", text)
    assert.matches("\n  fc +%[3%] +51 +new, random +trained +0%.002 ", text)
    assert.contains("The recipe reads trainer:step next", text)
    assert.contains("Nothing was trained or written.", text)
    local plan = helpers.json { "plan", recipe }
    assert.equal(51, plan.trainable_parameters)
    assert.equal(core.null, plan.seconds_per_epoch)
  end)
  it("ends with a word where the recipe reads what only training can tell", function()
    local recipe = helpers.recipe [[
      local graft = require "graft"
      local opt = graft.options { data = { type = "folder" }, weights = { type = "file" } }
      local d = graft.data.folder(opt.data)
      local net = graft.load(opt.weights):replace_head(d)
      local run = graft.fit(net, d, { epochs = 1, optimizer = graft.sgd { lr = 0.01 } })
      net:save(graft.out "model.safetensors")
      graft.report(run, graft.out "page.html")
      print(run.best.val_accuracy)
    ]]
    local out = helpers.fresh "planned"
    local text = helpers.done({ "plan", recipe, "--data", photos, "--weights", weights, "--out", out }).out
    assert.contains("run.best", text)
    assert.contains("Nothing was trained", text)
    assert.is_nil(core.stat(out))
  end)
  it("warns where batch norm would learn from tiny batches", function()
    local recipe = helpers.recipe [[
      local graft = require "graft"
      local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, bn = "train" }
      local d = graft.data.folder(opt.data)
      local net = graft.load(opt.weights):replace_head(d):freeze "body":unfreeze { "layer4", bn = opt.bn }
      graft.fit(net, d, { epochs = 1, batch_size = 4 })
    ]]
    local words = { "plan", recipe, "--data", photos, "--weights", weights }
    local result = helpers.done(words)
    assert.contains('bn = "fixed" is safer', result.err)
    assert.matches("layer4 [^\n]* train ", result.out)
    assert.matches("layer3 [^\n]* fixed ", result.out)
    words[#words + 1], words[#words + 2] = "--bn", "fixed"
    result = helpers.done(words)
    assert.falsy(result.err:find "safer")
    assert.matches("layer4 [^\n]* trained [^\n]* fixed ", result.out)
  end)
  it("refuses what run would refuse", function()
    helpers.refused({ "plan", "head_only", "--data", photos, "--weights", weights, "--epoch", "3" }, 2, "nearest: --epochs")
    helpers.refused({ "plan", "head_only", "--data", "nowhere", "--weights", weights }, 1, "nowhere")
  end)
end)

describe("graft predict", function()
  local one, two = photos .. "/mugs/1.jpg", photos .. "/bowls/2.png"
  it("names what it sees, best first", function()
    local text = helpers.done({ "predict", model, one, two }).out
    assert.matches("mugs/1%.jpg +mugs +[01]%.%d%d", text)
    assert.matches("bowls/2%.png +bowls +[01]%.%d%d", text)
    local list = helpers.json { "predict", model, one, two, "--top", "2" }
    assert.equal(2, #list)
    assert.equal(one, list[1].image)
    assert.equal(2, #list[1].top)
    assert.equal("mugs", list[1].top[1].class)
    assert.is_true(list[1].top[1].p > list[1].top[2].p)
  end)
  it("goes on after a photo that cannot be read, and ends with 1", function()
    local broken = helpers.write(helpers.path "broken.jpg", "no photo at all")
    local result = helpers.refused({ "predict", model, one, broken, "missing.jpg", two }, 1, { "broken.jpg", "missing.jpg" })
    assert.contains("mugs", result.out)
    assert.contains("bowls", result.out)
    result = helpers.refused({ "predict", model, broken, two, "--json" }, 1, "broken.jpg")
    local list = core.parse_json(result.out)
    assert.equal(two, list[#list].image)
  end)
  it("takes a folder for its photos", function()
    assert.equal(10, #helpers.json { "predict", model, photos .. "/plates" })
  end)
  it("names phone formats that are not read", function()
    local heic = helpers.write(helpers.path "c.heic", "\0\0\0\24ftypheic\0\0\0\0mif1heic")
    helpers.refused({ "predict", model, heic }, 1, { "HEIC", "JPEG" })
  end)
end)

describe("graft eval", function()
  it("prints accuracy, a table of classes and who is taken for whom", function()
    local text = helpers.done({ "eval", model, photos }).out
    assert.contains("6 of 30; --set all tests every one", text)
    for _, word in ipairs { "accuracy", "precision", "recall", "bowls", "mugs", "plates", "is \\ said" } do
      assert.contains(word, text)
    end
  end)
  it("has its keys as JSON, and they add up", function()
    assert.equal(30, helpers.json({ "eval", model, photos, "--set", "all" }).photos)
    local e = helpers.json { "eval", model, photos, "--set", "train" }
    helpers.has_keys(e, { "accuracy", "top5", "loss", "classes", "confusion", "heads" }, "eval --json")
    assert.equal(3, #e.classes)
    helpers.has_keys(e.classes[1], { "name", "precision", "recall", "support" }, "a class")
    local right, all = 0, 0
    for i, row in ipairs(e.confusion) do
      local support = 0
      for j, count in ipairs(row) do
        support, all, right = support + count, all + count, right + (i == j and count or 0)
      end
      assert.equal(support, e.classes[i].support)
    end
    assert.near(e.accuracy, right / all)
    assert.is_true(e.accuracy > 0.8)
  end)
  it("takes the test photos where there are some, and every photo is asked for once", function()
    local split = helpers.path "split"
    for i, part in ipairs { "train", "valid", "test" } do
      core.make_folder(split)
      helpers.photos("split/" .. part, { "bowls", "mugs", "plates" }, 2 + i, 30 * i)
    end
    local e = helpers.json { "eval", model, split }
    assert.equal("test", e.set)
    assert.equal(15, e.photos)
    helpers.refused({ "eval", model, split, "--set", "all" }, 2, "has sets of its own")
    assert.equal(12, helpers.json({ "eval", model, split, "--set", "val" }).photos)
  end)
  it("matches classes by name, whatever their order", function()
    local shuffled = helpers.path "shuffled.lua"
    helpers.write(shuffled, ([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      local r = graft.data.folder(%q, { classes = { "plates", "bowls", "mugs" } })
      local net = graft.load(%q)
      print(graft.evaluate(net, d.train).accuracy == graft.evaluate(net, r.train).accuracy)
    ]]):format(photos, photos, model))
    assert.equal("true\n", helpers.done({ "run", shuffled, "--quiet" }).out)
  end)
  it("refuses data with other classes", function()
    local others = helpers.photos("others", { "vases", "cups" }, 2)
    helpers.refused({ "eval", model, others }, 1, { "cups", "among the network's",
      ("graft probe %s %s"):format(model, others) })
    helpers.refused({ "eval", model, "nowhere" }, 1, "nowhere")
    helpers.refused({ "eval", others, model }, 1, "expected a model, got a folder that is no run folder; the model comes first")
  end)
end)

describe("graft embed", function()
  it("writes features and the photos' names", function()
    local out = helpers.path "e.npy"
    local document = helpers.json { "embed", model, photos .. "/mugs", "--at", "layer2", "--out", out }
    assert.same({ 10, 12 }, document.shape)
    local e = graft.tensor.load(out)
    assert.same({ 10, 12 }, e.shape)
    assert.is_true(e:abs():max() > 0)
    assert.contains("mugs/10.png", helpers.read(document.files))
    helpers.done { "embed", model, photos .. "/mugs/1.jpg", "--at", "layer2", "--out", helpers.path "one.npy" }
  end)
  it("names the nearest layer", function()
    helpers.refused({ "embed", model, photos .. "/mugs", "--at", "layr2", "--out", helpers.path "no.npy" }, 1,
      { '"layr2"', 'nearest: "layer2"' })
    assert.is_nil(core.stat(helpers.path "no.npy"))
  end)
end)

describe("graft inspect", function()
  local function kind(path)
    return helpers.json({ "inspect", path }).kind
  end
  it("explains models, weights, photos, data, locks, runs and recipes", function()
    assert.equal("model", kind(model))
    assert.equal("weights", kind(helpers.tests .. "/fixtures/io/plain_zip.pth"))
    assert.equal("weights", kind(helpers.tests .. "/fixtures/io/plain_legacy.pth"))
    assert.equal("photo", kind(photos .. "/mugs/1.jpg"))
    assert.equal("data", kind(photos))
    assert.equal("lock", kind(trained .. "/recipe.lock"))
    assert.equal("run", kind(trained))
    assert.equal("recipe", kind(helpers.recipe "return 1"))
    assert.contains("fc", helpers.done({ "inspect", model, "--layers" }).out)
    assert.contains("bowls, mugs, plates", helpers.done({ "inspect", model }).out)
  end)
  it("plans a head that an earlier phase trained as coming from there", function()
    local phases = helpers.json({ "plan", "fine_tune", "--data", photos, "--weights", weights, "--head-epochs", "1", "--epochs",
      "1" }).phases
    local function source(phase)
      local layers = phases[phase].layers
      return layers[#layers].source
    end
    assert.equal("new, random", source(1))
    assert.equal("phase 1", source(2))
  end)
  it("tells what several fits of a recipe took together", function()
    local text = helpers.done({ "run", "fine_tune", "--data", photos, "--weights", weights, "--out", helpers.fresh "together",
      "--head-epochs", "1", "--epochs", "1" }).out
    assert.matches("\ntogether +[%d%.]+ m?s, [%d%.]+ MiB in 2 fits\n", text)
  end)
  it("says of a lock and a run folder, in words, what the run depends on and where it stands", function()
    for _, path in ipairs { trained, trained .. "/recipe.lock" } do
      local text = helpers.done({ "inspect", path }).out
      for _, row in ipairs { "has ended", "recipe +head_only  sha256 %x+%.%.\n", "options +%-%-batch%-size 32  %-%-data ",
        "weights +mini%.safetensors  sha256 %x+%.%.\n",
        "data +photos  24 train, 6 val %(20 %% of each class held out%); 3 classes; ",
        "fits +1  12 epochs; then weights sha256 %x+%.%.\n", "seed +1\n", "made by +Graft 0%.1 %(build %x+%), %d+ threads?, ",
        "result +weights sha256 ", "next +graft verify " } do
        assert.matches(row, text)
      end
    end
    local out = helpers.fresh "torn"
    helpers.interrupted({ "run", "fine_tune", "--data", photos, "--weights", weights, "--out", out, "--head-epochs", "2",
      "--epochs", "5000" }, { after = "all  epoch   30/5000" })
    local text = helpers.done({ "inspect", out }).out
    assert.contains("the run has not ended: the last checkpoint is of fit 2, after epoch ", text)
    assert.contains("--resume goes on", text)
    assert.is_false(helpers.json({ "inspect", out }).finished)
    helpers.refused({ "verify", out }, 1, "has not ended")
  end)
  it("counts a folder's photos and says what it skips", function()
    local folder = helpers.photos("mixed", { "cups", "mugs" }, 6)
    helpers.write(folder .. "/cups/list.txt", "a list")
    helpers.write(folder .. "/cups/phone.heic", "\0\0\0\24ftypheic\0\0\0\0mif1heic")
    local text = helpers.done({ "inspect", folder }).out
    assert.contains("12 photos, 2 classes", text)
    assert.contains("phone.heic", text)
    assert.contains("next", text)
  end)
  it("says so when there is nothing", function()
    helpers.refused({ "inspect", "nowhere" }, 1, "nowhere")
    helpers.refused({ "inspect", helpers.write(helpers.path "noise.bin", ("x"):rep(100)) }, 1, "noise.bin")
  end)
end)

describe("graft convert", function()
  it("writes safetensors from PyTorch's files, number for number", function()
    for _, name in ipairs { "plain_zip", "plain_legacy" } do
      local from, to = ("%s/fixtures/io/%s.pth"):format(helpers.tests, name), helpers.path(name .. ".safetensors")
      local document = helpers.json { "convert", from, to }
      local old, new = helpers.tensors(from), helpers.tensors(to)
      local count = 0
      for key, tensor in pairs(old) do
        count = count + 1
        assert.is_true(tensor == new[key], key)
      end
      assert.equal(count, document.tensors)
    end
  end)
  it("writes nothing over unless it is forced to", function()
    local to = helpers.write(helpers.path "kept.safetensors", "mine")
    helpers.refused({ "convert", model, to }, 1, { "kept.safetensors", "--force" })
    assert.equal("mine", helpers.read(to))
    helpers.done { "convert", model, to, "--force" }
    assert.equal(graft.load(model):digest(), graft.load(to):digest())
    helpers.refused({ "convert", model, helpers.path "x.onnx" }, 1, ".safetensors")
  end)
end)

describe("graft -e, --version and help", function()
  it("work", function()
    assert.equal("4\n", helpers.done({ "-e", "print(2 + 2)" }).out)
    helpers.refused({ "-e", "graft.load('x.pth')" }, 1, "x.pth")
    assert.matches("^Graft %d+%.%d+ %(JPEG by [%w_.%- ]+%)\nsandbox: [%w, ;]+\n$", helpers.done({ "--version" }).out)
    assert.contains(core.jpeg, helpers.done({ "--version" }).out)
    for _, topic in ipairs { "start", "recipes", "weights", "layers", "models", "freeze" } do
      assert.is_true(#helpers.done({ "help", topic }).out > 40, topic)
    end
    assert.contains("graft run", helpers.done({ "--help" }).out)
    assert.contains("usage: graft predict", helpers.done({ "predict", "--help" }).out)
    local recipes = helpers.done({ "help", "recipes" }).out
    assert.contains("head_only", recipes)
    assert.contains("fine_tune", recipes)
  end)
  it("print nothing half: a full disk below stdout is a failure", function()
    helpers.refused({ "predict", model, photos .. "/mugs/1.jpg", "--json" }, 1, "cannot be written", { out = "/dev/full" })
    helpers.refused({ "--help" }, 1, "cannot be written", { out = "/dev/full" })
  end)
end)

describe("where a run folder or a folder of class folders is given", function()
  local folder = helpers.photos("classes", { "bowls", "mugs" }, 4)
  local out = helpers.fresh "run"
  helpers.done { "run", "head_only", "--data", folder, "--weights", helpers.weights(), "--epochs", "1", "--out", out }

  it("predict and embed take its model, and the photos of all classes", function()
    local by_folder = helpers.json { "predict", out, folder }
    assert.equal(8, #by_folder)
    assert.same(helpers.json { "predict", out .. "/best.safetensors", folder }, by_folder)
    local file = helpers.fresh "e" .. ".npy"
    assert.same({ 8, 16 }, helpers.json({ "embed", out, folder, "--out", file }).shape)
    local array = helpers.json { "inspect", file }
    assert.equal("array", array.kind)
    assert.same({ 8, 16 }, array.shape)
    assert.contains("[8,16]", helpers.done({ "inspect", file }).out)
  end)

  it("inspect tells of a file no state of training", function()
    local text = helpers.done({ "inspect", out .. "/best.safetensors" }).out
    assert.is_nil(text:find("trained", 1, true))
    assert.contains("parameters and statistics", text)
  end)

  it("the hint of a wrong layer names the file as it was named", function()
    local saved = out .. "/best.safetensors"
    helpers.refused({ "embed", saved, folder, "--at", "layr1", "--out", "e.npy" }, 1, "graft inspect " .. saved .. " --layers")
  end)
end)

describe("progress", function()
  local progress = require "graft.progress"
  it("keeps the time left where the line is short of room: the bar gives way, then the text", function()
    local long = "loss 0.218  val 0.950  lr 0.0100  1234 photos/s"
    assert.equal("epoch 1/2  [############------------]  loss 0.2  3 s left",
      progress.text("epoch 1/2", 0.5, "loss 0.2", "3 s left", 77))
    local line = progress.text("head  epoch 14/20", 0.5, long, "1 min 20 s left", 97)
    assert.matches("^head  epoch 14/20  %[#+%-+%]  loss .* 1234 photos/s  1 min 20 s left$", line)
    line = progress.text("head  epoch 14/20", 0.5, long, "1 min 20 s left", 77)
    assert.equal(77, #line)
    assert.matches("^head  epoch 14/20  %[####%-%-%-%-%]  loss 0.218  val 0.950 .*  1 min 20 s left$", line)
    assert.equal(20, #progress.text("head  epoch 14/20", 0.5, long, "1 min 20 s left", 20))
  end)
end)

describe("a recipe that fails after a training", function()
  it("says where the model of that lies", function()
    local folder = helpers.photos("after", { "mugs", "bowls" }, 6)
    local out = helpers.fresh "run"
    local result = helpers.refused({ "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local net = graft.load(%q):replace_head(d):freeze("body")
      graft.fit(net, d, { epochs = 1 })
      net:unfreeze("layr4")
    ]]):format(folder, helpers.weights())), "--out", out, "--quiet" }, 1, { 'no layer "layr4"',
      "fit 1 had finished, and is kept: " .. out .. "/best.safetensors" })
    assert.equal("", result.out)
  end)
end)
