-- Packs: what goes in and what must not, replaying on other data, looking before running, and packs that are not sound.
local helpers = require "helpers"
local core = require "graft.core"

-- Folders with a blank and a name in them, as people have.
local home = "Anna Smith/private"
local photos = helpers.photos(home .. "/holiday photos", { "bowls", "mugs", "plates" }, 10)
local others = helpers.photos("others", { "plates", "vases" }, 8)
core.make_folder(helpers.path(home .. "/models"))
local weights = helpers.weights(home .. "/models/mini.safetensors")

local trained = helpers.path(home .. "/runs/first")
local first = helpers.json { "run", "head_only", "--data", photos, "--weights", weights, "--out", trained, "--epochs", "4",
  "--lr", "0.1", "--seed", "7" }
local plain, full = helpers.path "first.graft", helpers.path "full.graft"
local said = helpers.done { "pack", trained, plain }
local said_full = helpers.done { "pack", trained, full, "--weights" }

local function names(pack)
  local list = {}
  for i, part in ipairs(pack.parts) do
    list[i] = part.name
  end
  return table.concat(list, " ")
end

describe("graft pack", function()
  it("puts recipe, lock, metrics and a report in one file, with --weights the model", function()
    local pack = core.pack_read(plain, true)
    assert.equal("recipe.lua recipe.lock metrics.csv report.txt", names(pack))
    assert.equal(helpers.read(trained .. "/recipe.lua"), pack.recipe)
    assert.equal(helpers.read(trained .. "/metrics.csv"), pack.metrics)
    assert.equal("recipe.lua recipe.lock metrics.csv report.txt weights.safetensors", names(core.pack_read(full, true)))
    assert.matches("accuracy +[01]%.%d+", pack.report)
    assert.contains("bowls, mugs, plates", pack.report)
    local lock = core.parse_json(pack.lock)
    assert.equal(7, lock.seed)
    assert.equal(4, lock.options.epochs)
    assert.equal(core.digest_file(weights), lock.weights[1].sha256)
  end)

  it("is the same file each time", function()
    local again = helpers.path "again.graft"
    helpers.done { "pack", trained .. "/", again }
    assert.equal(helpers.read(plain), helpers.read(again))
  end)

  it("says what is in it, where the weights are from, under which licence, and what was left out", function()
    assert.matches("packed +%S+first%.graft, %d", said.out)
    assert.contains("not in it: who runs it needs mini.safetensors, sha256 " .. core.digest_file(weights):sub(1, 12), said.out)
    assert.contains("licence: not stated in that file", said.out)
    assert.contains("data is holiday photos, weights is mini.safetensors", said.out)
    assert.contains("graft inspect " .. plain, said.out)
    assert.contains("the trained model", said_full.out)
    assert.contains("terms of that file may hold", said_full.out)
  end)

  it("does not say that a licence is missing where the source names one", function()
    assert.equal("licence: see its source: somebody's models (MIT)",
      require("graft.pack").licence_text { source = "somebody's models (MIT)" })
  end)

  it("carries the licence that the weights state", function()
    local list = core.weights(weights)
    local tensors = {}
    for _, tensor in ipairs(list:tensors()) do
      tensors[#tensors + 1] = { tensor.name, list:get(tensor.name) }
    end
    local metadata = list:metadata()
    metadata["weights.licence"], metadata["weights.source"] = "CC-BY-4.0", "https://example.org/mini"
    metadata["graft.digest"] = nil
    local licensed = helpers.path "licensed.safetensors"
    core.save_weights(licensed, tensors, metadata)
    local out, packed = helpers.fresh "run", helpers.fresh "pack" .. ".graft"
    helpers.done { "run", "head_only", "--data", photos, "--weights", licensed, "--out", out, "--epochs", "1" }
    assert.contains("licence: CC-BY-4.0", helpers.done { "pack", out, packed }.out)
    assert.equal("CC-BY-4.0", core.parse_json(core.pack_read(packed).lock).weights[1].licence)
    assert.contains("licence: CC-BY-4.0; from https://example.org/mini", helpers.done { "inspect", packed }.out)
  end)

  it("lets no path of this machine and no user's name out", function()
    for _, path in ipairs { plain, full } do
      local bytes = helpers.read(path)
      for _, leak in ipairs { "Anna", "Smith", "private", helpers.root, helpers.root:match "[^/]+$" } do
        assert.is_nil(bytes:find(leak, 1, true), leak .. " in " .. path)
      end
    end
  end)

  it("leaves options that are no paths as they are, and calls a home by no name", function()
    local recipe = helpers.recipe [[
      local graft = require "graft"
      local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, between = "a/b" }
      local d = graft.data.folder(opt.data)
      graft.fit(graft.load(opt.weights):replace_head(d):freeze "body", d, { epochs = 1 })
    ]]
    local out, packed = helpers.fresh "run", helpers.fresh "pack" .. ".graft"
    local anna = helpers.photos("people/anna", { "bowls", "mugs" }, 6)
    helpers.done { "run", recipe, "--data", "people/anna", "--weights", weights, "--out", out }
    helpers.done({ "pack", out, packed }, { before = ("HOME='%s'"):format(anna) })
    local lock = core.parse_json(core.pack_read(packed).lock)
    assert.equal("a/b", lock.options.between)
    assert.equal("home", lock.options.data)
    assert.is_nil(helpers.read(packed):find("anna", 1, true))
  end)

  it("cuts every path down to its last name, wherever it stands", function()
    local find_path = require("graft.pack").find_path
    for _, folder in ipairs { "home", "Users", "root", "tmp", "mnt", "srv" } do
      local path = "/" .. folder .. "/anna/x.jpg"
      for _, text in ipairs { path, ('data("%s")'):format(path), "at=" .. path .. ",", "see " .. path, "[" .. path .. "]",
        "file:" .. path, "a\t" .. path .. "\n" } do
        assert.equal(path, select(3, find_path(text, 1)), text)
      end
    end
    assert.equal("~anna/photos", select(3, find_path("see ~anna/photos", 1)))
    assert.equal("\\Users\\anna", select(3, find_path("C:\\Users\\anna", 1)))
    for _, text in ipairs { "a / b", "https://example.org/home/x", "/usr/share/datasets/fashion-mnist", "photos/train/x.jpg",
      "half /count", "and/or", "1/10" } do
      assert.is_nil(find_path(text, 1), text)
    end
  end)

  it("refuses a recipe that names a path of this machine, and says the line", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 1 })
    ]]):format(photos, weights))
    local out, packed = helpers.fresh "run", helpers.fresh "pack" .. ".graft"
    helpers.done { "run", recipe, "--out", out, "--trust" }
    helpers.refused({ "pack", out, packed }, 1, { "recipe.lua:2 names " .. helpers.root, "graft.options" })
    assert.is_nil(core.stat(packed))
  end)

  it("refuses what is no finished run, and files that are something else", function()
    helpers.refused({ "pack", photos, helpers.fresh "x" .. ".graft" }, 1, "has no recipe.lua")
    helpers.refused({ "pack", helpers.path "nothing", helpers.fresh "x" .. ".graft" }, 1, "no such run folder")
    helpers.refused({ "pack", trained }, 2, "RUNDIR OUT.graft")
    helpers.refused({ "pack", trained, "first.zip" }, 2, "first.graft")
    local letter = helpers.write(helpers.path "letter.graft", "dear")
    helpers.refused({ "pack", trained, letter }, 1, "is no pack")
    assert.equal("dear", helpers.read(letter))
    local changed = helpers.fresh "run"
    core.make_folder(changed)
    helpers.write(changed .. "/recipe.lua", "print(1)")
    helpers.write(changed .. "/recipe.lock", helpers.read(trained .. "/recipe.lock"))
    helpers.refused({ "pack", changed, helpers.fresh "x" .. ".graft" }, 1, "belongs to another recipe")
    helpers.write(changed .. "/recipe.lua", helpers.read(trained .. "/recipe.lua"))
    local lock = core.parse_json(helpers.read(trained .. "/recipe.lock"))
    lock.finished, lock.weights, lock.data, lock.fits = false, nil, nil, nil
    helpers.write(changed .. "/recipe.lock", core.json(lock))
    helpers.refused({ "pack", changed, helpers.fresh "x" .. ".graft" }, 1, "is not finished")
  end)
end)

describe("graft run with a pack", function()
  it("replays it: the same data, weights, seed and options give the same network", function()
    local out = helpers.fresh "run"
    local document = helpers.json { "run", plain, "--data", photos, "--weights", weights, "--out", out }
    assert.equal(first.digest, document.digest)
    assert.same({ 7, 4 }, { document.seed, document.epochs })
    assert.equal(helpers.read(trained .. "/recipe.lua"), helpers.read(out .. "/recipe.lua"))
  end)

  it("runs on other data, and the command line wins aloud", function()
    local result = helpers.done { "run", plain, "--data", others, "--weights", weights, "--epochs", "2" }
    assert.contains("options of the pack: batch_size 32, lr 0.1, seed 7", result.err)
    assert.contains("the command line says otherwise: epochs 2 (the pack: 4)", result.err)
    assert.contains("epoch 2/2", result.err)
    assert.contains("seed 8 (the pack: 7)", helpers.done({ "run", plain, "--data", others, "--weights", weights, "--epochs", "1",
      "--seed", "8", "--out", helpers.fresh "run" }).err)
    assert.contains("kept      runs/first-1/", result.out)
  end)

  it("starts from the weights in the pack where no others are named, and says so", function()
    local result = helpers.done { "run", full, "--data", others, "--epochs", "1", "--out", helpers.fresh "run" }
    assert.contains("starts from the trained weights in the pack", result.err)
    helpers.refused({ "run", plain, "--data", others }, 1, "no weights file given")
    helpers.refused({ "run", plain, "--weights", weights }, 1, "no folder of photos given")
  end)

  it("says when the weights are other ones than the pack's", function()
    local other = helpers.done { "run", plain, "--data", photos, "--weights", trained .. "/best.safetensors", "--epochs", "1",
      "--out", helpers.fresh "run" }
    assert.contains("is not what the pack was trained from", other.err)
    assert.falsy(helpers.done({ "run", plain, "--data", photos, "--weights", weights, "--epochs", "1", "--out",
      helpers.fresh "run" }).err:find("trained from", 1, true))
  end)

  it("knows its options, and plans it", function()
    assert.contains("--epochs", helpers.done({ "run", plain, "--help" }).out)
    helpers.refused({ "run", plain, "--epoch", "3" }, 2, "nearest: --epochs")
    local plan = helpers.done { "plan", plain, "--data", others, "--weights", weights }
    assert.contains("4 epochs", plan.out)
    assert.contains("Nothing was trained or written.", plan.out)
  end)
end)

describe("a pack with weights", function()
  it("is a model to predict, eval, embed and convert with", function()
    local a = helpers.json { "predict", full, photos .. "/mugs/1.jpg" }
    local b = helpers.json { "predict", trained .. "/best.safetensors", photos .. "/mugs/1.jpg" }
    assert.same(b[1].top, a[1].top)
    local converted = helpers.fresh "model" .. ".safetensors"
    helpers.done { "convert", full, converted }
    assert.same(helpers.bytes(trained .. "/best.safetensors"), helpers.bytes(converted))
    helpers.refused({ "predict", plain, photos .. "/mugs/1.jpg" }, 1, "is a pack without weights")
  end)
end)

-- A pack with this recipe and a lock that is right for it, changed by `change`.
local function made(recipe, change)
  local lock = { format = 1, recipe = core.digest(recipe), seed = 3, options = { epochs = 2 } }
  local text = change and change(lock)
  local path = helpers.fresh "made" .. ".graft"
  core.pack_write(path, { recipe = recipe, lock = text or core.json(lock) })
  return path
end

describe("graft inspect shows a pack before it runs:", function()
  it("parts, options, data, weights with their digests, what is read and written, and the recipe", function()
    local out = helpers.done({ "inspect", plain }).out
    for _, words in ipairs { "every digest holds, and nothing in it was executed", "batch_size 32", "lr 0.1", "seed",
      core.digest_file(weights), "holiday photos: 24 train, 6 val; 3 classes: bowls, mugs, plates", "runs/first-N",
      "  local d = graft.data.folder(opt.data)", "graft plan " .. plain .. " --data PHOTOS --weights FILE" } do
      assert.contains(words, out)
    end
    local document = helpers.json { "inspect", plain }
    helpers.has_keys(document, { "kind", "parts", "lock", "recipe", "report", "metrics" }, "inspect --json")
    assert.equal("pack", document.kind)
    assert.contains("trained weights in the pack", helpers.done({ "inspect", full }).out)
  end)

  it("control characters and tricks of direction are spelt out, and nothing runs", function()
    local mark = helpers.fresh "mark"
    local evil = made(('io.open(%q, "w"):close() --\27[2J\194\155 \226\128\174 \7 end\n'):format(mark))
    local out = helpers.done({ "inspect", evil }).out
    assert.contains("\\x1b[2J\\xc2\\x9b \\u{202e} \\x07 end", out)
    assert.is_nil(out:find "[\27\7]")
    assert.is_nil(core.stat(mark))
  end)
end)

describe("packs that are not sound", function()
  local bytes = helpers.read(plain)
  local function spoilt(change)
    return helpers.write(helpers.fresh "bad" .. ".graft", change(bytes))
  end
  -- The content of the lock or the recipe changed by one letter, headers untouched.
  local function replaced(from, to)
    return function(b)
      local at = assert(b:find(from, 1, true))
      return b:sub(1, at - 1) .. to .. b:sub(at + #to)
    end
  end
  local cases = {
    signature = function(b) return "#!/bin/sh\n" .. b end,
    version = replaced("# graft pack 1", "# graft pack 2"),
    names = replaced("recipe.lua\n", "../etc/pwd\n"),
    trailing = function(b) return b .. "\0" end,
    short = function(b) return b:sub(1, -2) end,
    digest = replaced("local graft = require", "local grafT"),
    directory = function(b) return b:sub(1, -23) .. "x" .. b:sub(-22) end,
    header = replaced("PK\3\4\10\0\0\0\0\0\0\0\33\0", "PK\3\4\10\0\1\0"),
  }
  for rule, change in pairs(cases) do
    it("are refused by name of the rule: " .. rule, function()
      local path = spoilt(change)
      -- a changed list of digests is found by its CRC first
      local wanted = (rule == "version" or rule == "names") and "crc" or rule
      if rule == "header" or wanted == "signature" then
        wanted = rule
      end
      helpers.refused({ "run", path, "--data", photos }, 1, { path, ('(rule "%s")'):format(wanted) })
      helpers.refused({ "inspect", path }, 1, { path, ('(rule "%s")'):format(wanted) })
    end)
  end

  it("are refused when the lock is not what Graft writes", function()
    local kinds = {
      ["no JSON object"] = function() return "{" end,
      ["no format"] = function(lock) lock.format = "1" end,
      ["another recipe"] = function(lock) lock.recipe = ("0"):rep(64) end,
      ["seed must be a whole number"] = function(lock) lock.seed = "os.exit()" end,
      ["seed must be a whole"] = function(lock) lock.seed = 0.5 end,
      ["finished must be a boolean"] = function(lock) lock.finished = 1 end,
      ["options must be an object"] = function(lock) lock.options = "--trust" end,
      ["the option --trust is none"] = function(lock) lock.options = { ["--trust"] = true } end,
      ["the option epochs is none"] = function(lock) lock.options.epochs = { 1 } end,
      ["weights must be a list"] = function(lock) lock.weights = "x" end,
      ["entry 1 of weights"] = function(lock) lock.weights = { { file = "x", sha256 = "y" } } end,
      ["entry 1 of data"] = function(lock) lock.data = { { name = "x" } } end,
      ["entry 2 of data"] = function(lock)
        lock.data = { { name = "x", train = 1, val = 1, classes = { "a" } }, { name = "x", train = 1, val = 1, classes = { 1 } } }
      end,
      ["the option lr is none"] = function()
        return ('{"format":1,"recipe":"%s","options":{"lr":1e999}}'):format(core.digest "print(1)")
      end,
      ["cpu must be a string"] = function(lock) lock.cpu = { 1 } end,
    }
    for words, change in pairs(kinds) do
      local path = made("print(1)", change)
      helpers.refused({ "run", path }, 1, { path .. ": its recipe.lock is refused", words })
      helpers.refused({ "inspect", path }, 1, words)
    end
  end)

  it("may have a seed beyond what JSON's numbers hold", function()
    local recipe = 'local graft = require "graft"\nprint(graft.seed(1))'
    assert.equal("9007199254740993\n", helpers.done({ "run", made(recipe, function(lock) lock.seed = "9007199254740993" end) })
      .out)
  end)

  it("are refused when an option has no value that the recipe takes", function()
    local recipe = 'local graft = require "graft"\nlocal opt = graft.options { epochs = 2 }\nprint(opt.epochs)'
    helpers.refused({ "run", made(recipe, function(lock) lock.options.epochs = "many" end) }, 1,
      { "its recipe.lock has an option", "--epochs", "many" })
    assert.equal("2\n", helpers.done({ "run", made(recipe, function(lock) lock.options.unknown = "x" end) }).out)
  end)

  it("are refused when the recipe is compiled Lua", function()
    helpers.refused({ "run", made("\27Lua") }, 1, "compiled Lua")
  end)

  it("do not hide behind another name", function()
    local path = helpers.write(helpers.path "pack.safetensors", helpers.read(full))
    assert.contains("a pack", helpers.done({ "inspect", path }).out)
    helpers.refused({ "inspect", helpers.write(helpers.path "photo.graft", "\255\216\255") }, 1, 'rule "signature"')
  end)
end)

describe("a pack of version 1", function()
  it("runs, whatever version of Graft made it", function()
    local pack = helpers.tests .. "/fixtures/io/run.graft"
    local result = helpers.done { "run", pack }
    assert.equal("5\n", result.out)
    assert.contains("epochs 5, seed 3", result.err)
  end)
end)
