-- Bad input: each kind has a clear message of its own, ends with 1 (2 for wrong usage), crashes nothing and writes
-- nothing over.
local helpers = require "helpers"
local graft = require "graft"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()

-- `graft run head_only` on this data with these weights has to fail with these words, and leaves no run folder behind.
local function refused(data, file, pieces, ...)
  local out = helpers.fresh "run"
  local words = { "run", "head_only", "--data", data, "--out", out, ... }
  if file then
    table.insert(words, "--weights")
    table.insert(words, file)
  end
  local result = helpers.refused(words, 1, pieces)
  assert.is_nil(core.stat(out), "a run folder was made")
  assert.equal("", result.out)
  return result
end

-- A recipe's lines after `d` and `net` that have to fail with these words.
local function recipe_refused(text, pieces, status)
  local recipe = helpers.recipe(([[
local graft = require "graft"
local d = graft.data.folder(%q)
local net = graft.load(%q):replace_head(d)
]]):format(photos, weights) .. text)
  return helpers.refused({ "run", recipe, "--out", helpers.fresh "run" }, status or 1, pieces)
end

local function folder_with(name, files)
  local folder = helpers.path(name)
  core.make_folder(folder)
  for file, bytes in pairs(files) do
    core.make_folder((folder .. "/" .. file):match "^(.*)/")
    helpers.write(folder .. "/" .. file, bytes)
  end
  return folder
end

local jpeg, png = helpers.read(photos .. "/mugs/1.jpg"), helpers.read(photos .. "/mugs/2.png")

describe("data", function()
  it("that is not there", function()
    refused("nowhere/photos", weights, { "nowhere/photos", "no such folder" })
    refused(helpers.write(helpers.path "file.txt", "text"), weights, "file.txt")
    helpers.refused({ "run", "head_only", "--weights", weights }, 1, { "no folder of photos given", "--data DIR" })
  end)
  it("in an empty folder, an empty class, or one class", function()
    local empty = helpers.path "empty"
    core.make_folder(empty)
    refused(empty, weights, empty)
    local hollow = helpers.photos("hollow", { "mugs", "plates" }, 3)
    core.make_folder(hollow .. "/vases")
    refused(hollow, weights, { "vases", "no photo" })
    refused(helpers.photos("single", { "mugs" }, 4), weights, { "mugs", "class" })
  end)
  it("of loose photos says how to sort them", function()
    local loose = folder_with("loose", { ["a.jpg"] = jpeg, ["b.png"] = png })
    refused(loose, weights, { "2 photos but no folders", "Make one folder a class" })
  end)
  it("with classes in train that validation does not know, or the other way", function()
    local split = helpers.path "split"
    core.make_folder(split)
    for _, part in ipairs { "train", "val" } do
      helpers.photos("split/" .. part, { "mugs", part == "val" and "bowlz" or "bowls" }, 3, part == "val" and 20 or 0)
    end
    refused(split, weights, "bowlz")
  end)
end)

describe("photos that cannot be read", function()
  -- ten photos a class and some of these
  local function with_bad(name, count)
    local folder = helpers.photos(name, { "bowls", "mugs", "plates" }, 10)
    for i = 1, count do
      helpers.write(("%s/mugs/bad%d.jpg"):format(folder, i), "this is a text " .. i)
    end
    return folder
  end
  it("are skipped and listed", function()
    local folder = with_bad("one_bad", 1)
    local document = helpers.json { "run", "head_only", "--data", folder, "--weights", weights, "--out", helpers.fresh "run",
      "--epochs", "1" }
    assert.equal(1, #document.skipped)
    assert.contains("mugs/bad1.jpg", document.skipped[1].file)
    assert.is_true(#document.skipped[1].reason > 3)
    local result = helpers.done { "run", "head_only", "--data", folder, "--weights", weights, "--out", helpers.fresh "run",
      "--epochs", "1" }
    assert.contains("1 file skipped", result.err)
    assert.contains("bad1.jpg", result.out)
  end)
  it("are an error where the recipe says so", function()
    local text = "graft.data.folder(%q, { on_bad = 'error' })"
    recipe_refused(text:format(helpers.path "one_bad"), "bad1.jpg")
  end)
  it("are an error when they are many", function()
    refused(with_bad("many_bad", 4), weights, { "4", "max_skip" })
    recipe_refused(("graft.data.folder(%q, { max_skip = 0.5, on_bad = 'skipp' })"):format(helpers.path "many_bad"), "skipp")
    helpers.done { "run", helpers.recipe(("print(#require 'graft'.data.folder(%q, { max_skip = 0.5 }).skipped)"):format(
      helpers.path "many_bad")) }
  end)
  it("end early, or are of a kind that is not read", function()
    local folder = helpers.photos("early", { "bowls", "mugs", "plates" }, 30)
    helpers.write(folder .. "/mugs/cut.jpg", jpeg:sub(1, #jpeg // 2))
    helpers.write(folder .. "/bowls/cut.png", png:sub(1, #png // 2))
    helpers.write(folder .. "/bowls/empty.jpg", "")
    helpers.write(folder .. "/plates/phone.heic", "\0\0\0\24ftypheic\0\0\0\0mif1heic")
    helpers.write(folder .. "/plates/.hidden.jpg", "not even looked at")
    local document = helpers.json { "run", "head_only", "--data", folder, "--weights", weights, "--out", helpers.fresh "run",
      "--epochs", "1" }
    local names = {}
    for _, file in ipairs(document.skipped) do
      names[#names + 1] = file.file:match "[^/]+$"
    end
    table.sort(names)
    assert.same({ "cut.jpg", "cut.png", "empty.jpg", "phone.heic" }, names)
  end)
end)

describe("weights", function()
  it("that are not there, or not given", function()
    refused(photos, "nowhere.pth", "nowhere.pth")
    refused(photos, photos, "photos")
    refused(photos, nil, { "no weights file given", "graft help weights" })
  end)
  it("that end early, at every point", function()
    for _, name in ipairs { "plain_zip.pth", "plain_legacy.pth", "model.safetensors" } do
      local whole = helpers.read(helpers.tests .. "/fixtures/io/" .. name)
      for _, part in ipairs { 0, 0.01, 0.1, 0.5, 0.9, 0.999 } do
        local file = helpers.write(helpers.path("cut_" .. name), whole:sub(1, math.floor(#whole * part)))
        refused(photos, file, "cut_" .. name)
      end
    end
    local whole = helpers.read(weights)
    refused(photos, helpers.write(helpers.path "cut.safetensors", whole:sub(1, -2)), "cut.safetensors")
  end)
  it("that would run a program: nothing in them is run", function()
    local trap = helpers.path "trap"
    local call = "touch " .. trap
    local pickle = "\x80\x02cos\nsystem\nX" .. ("<I4"):pack(#call) .. call .. "\x85R."
    local zipped = helpers.write(helpers.path "evil.pth", helpers.zip { { "evil/data.pkl", pickle }, { "evil/version", "3\n" } })
    refused(photos, zipped, { "evil.pth", "os.system" })
    local legacy = helpers.write(helpers.path "old_evil.pth", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
      .. "\x80\x02M\xe9\x03." .. "\x80\x02}q\0." .. pickle)
    refused(photos, legacy, { "old_evil.pth", "os.system" })
    helpers.refused({ "inspect", zipped }, 1, "os.system")
    helpers.refused({ "convert", legacy, helpers.path "evil.safetensors" }, 1, "os.system")
    assert.is_nil(core.stat(trap))
    assert.is_nil(core.stat(helpers.path "evil.safetensors"))
  end)
  it("whose header lies", function()
    local function lying(name, header, data)
      local text = type(header) == "string" and header or core.json(header)
      local file = helpers.write(helpers.path(name .. ".safetensors"), ("<I8"):pack(#text) .. text .. (data or ""))
      refused(photos, file, name .. ".safetensors")
      helpers.refused({ "inspect", file }, 1, name .. ".safetensors")
    end
    local function tensor(first, last, shape, dtype)
      return { ["fc.weight"] = { dtype = dtype or "F32", shape = core.array(shape or { 2, 2 }),
        data_offsets = core.array { first, last } } }
    end
    local data = ("\0"):rep(16)
    lying("beyond", tensor(0, 1000000), data)
    lying("far", tensor(2 ^ 53 // 1 | 0, (2 ^ 53 // 1 | 0) + 16), data)
    lying("backwards", tensor(16, 0), data)
    lying("negative", tensor(-16, 0), data)
    lying("shape", tensor(0, 16, { 3, 3 }), data)
    lying("product", tensor(0, 16, { 1 << 33, 1 << 33 }), data)
    lying("dtype", tensor(0, 16, { 2, 2 }, "F33"), data)
    lying("kind", { ["fc.weight"] = 3 }, data)
    lying("json", "{\"fc.weight\": ", data)
    lying("list", "[1, 2]", data)
    helpers.write(helpers.path "length.safetensors", ("<I8"):pack(1 << 60) .. "{}")
    refused(photos, helpers.path "length.safetensors", "length.safetensors")
  end)
  it("of another architecture, by name and by number", function()
    recipe_refused(("graft.load(%q, { arch = 'resnet18' })"):format(weights), { "model of mini", "not of resnet18" })
    local plain = helpers.path "plain.safetensors"
    core.save_weights(plain, { { "stem.weight", graft.randn(4, 3, 3, 3) }, { "stem.bias", graft.randn(4) } }, {})
    refused(photos, plain, { "no architecture", "2 tensors", "stem.weight", "arch=" })
    recipe_refused(("graft.load(%q, { arch = 'resnet81' })"):format(plain), 'nearest: "resnet18"')
    recipe_refused(("graft.load(%q, { arch = 'resnet18' })"):format(plain), { "resnet18", "fc" })
    local body = helpers.path "body.safetensors"
    core.save_weights(body, { { "fc.weight", graft.randn(1000, 512) }, { "fc.bias", graft.randn(1000) } }, {})
    recipe_refused(("graft.load(%q, { arch = 'resnet18' })"):format(body), { "resnet18", "conv1.weight" })
  end)
  it("that are a model whose architecture was tampered with", function()
    local text = helpers.read(weights)
    local length = ("<I8"):unpack(text)
    local header, data = text:sub(9, 8 + length), text:sub(9 + length)
    local function tampered(pattern, replacement, count)
      local changed, n = header:gsub(pattern, replacement, count or 1)
      assert.equal(1, math.min(n, 1), pattern)
      local file = helpers.write(helpers.path "tampered.safetensors", ("<I8"):pack(#changed) .. changed .. data)
      refused(photos, file, "tampered.safetensors")
    end
    tampered("conv2d", "conv2x")
    tampered("batch_norm", "batch_nrm")
    tampered("graft%.network", "graft.netwonk")
    tampered('\\"out\\":(%s*)8', '\\"out\\":%19')
    tampered('\\"out\\":(%s*)8', '\\"out\\":%1-8')
    tampered('\\"stride\\":(%s*)2', '\\"stride\\":%10')
    tampered("layer2%.conv%.weight", "layer2.conv.weighs")
  end)
end)

describe("recipes that ask for the impossible", function()
  it("hear it with line, cause and the nearest name", function()
    recipe_refused('net:freeze("layr4")', { ":4:", 'no layer "layr4"', 'nearest: "layer4"' })
    recipe_refused('net:freeze("boby")', 'nearest: "body"')
    recipe_refused('net:unfreeze("layer9*")', "layer9*")
    recipe_refused('net:freeze()', { "no layer is named", '"*"' })
    recipe_refused('net:freeze("conv1.conv.weight")', "conv1.conv")
    recipe_refused("net:lr_scale{ { '*', 0 } }", { "freeze" })
    recipe_refused("net:lr_scale{ { '*', -1 } }", { "lr_scale" })
    recipe_refused("net:lr_scale{ { 'haed', 1 } }", { 'nearest: "head"' })
    recipe_refused("net:cut 'layr2'", 'nearest: "layer2"')
    recipe_refused("net:replace_head{ 'a', 'a' }", "twice")
    recipe_refused("net:replace_head{}", "class")
    recipe_refused("net:replace_head(3)", "list of class names")
    recipe_refused("graft.fit(net, d, { epochs = 1, batch_size = 1000, optimizer = graft.sgd{ lr = 0.1 } })",
      { "batch_size 1000", "24 photos" })
    recipe_refused("graft.fit(net, d, { epochs = 1, optimizer = graft.sgd{ lr = 0 } })", { "lr must be above 0", "freeze" })
    recipe_refused("graft.fit(net, d, { epochs = 1, optimizer = graft.sdg{ lr = 1 } })", 'nearest: "sgd"')
    recipe_refused("net:predict('gone.jpg')", "gone.jpg")
    recipe_refused("net(graft.zeros(1, 4, 16, 16))", { "[1,4,16,16]" })
    recipe_refused("net(graft.zeros(3))", "[")
    recipe_refused("graft.image.save(graft.zeros(2), 'x.png')", "[")
    recipe_refused("graft.nn.network{ input = { 3, 8, 8 }, build = function(x)\n"
      .. "return x:conv2d('a', { out = 2, kernel = 9 }) end }", "a")
    recipe_refused("graft.nn.network{ input = { 3, 8, 8 }, build = function(x)\n"
      .. "x = x:conv2d('a', { out = 2, kernel = 3 })\nx = x:conv2d('a', { out = 2, kernel = 3 }) return x end }",
      { ":5", ":6", "twice" })
    recipe_refused("error('my own words')", "my own words")
    recipe_refused("error({})", "table")
  end)
  it("--lr 0 on the command line too", function()
    refused(photos, weights, { "lr must be above 0", "freeze" }, "--lr", "0")
    helpers.refused({ "run", "head_only", "--data", photos, "--weights", weights, "--epochs", "0" }, 2,
      "--epochs: expected 1 or more, got 0")
  end)
  it("CSV files: columns, labels and photos that are not there", function()
    local function csv(text, options, pieces)
      local file = helpers.write(helpers.path "list.csv", text)
      recipe_refused(("graft.data.csv(%q, %s)"):format(file, options), pieces)
    end
    csv("file,tag\nphotos/mugs/1.jpg,a\n", "{ image = 'fil', label = 'tag' }", { "fil", "file" })
    csv("file,tag\n", "{ image = 'file', label = 'tag' }", "list.csv")
    csv("file,tag\nphotos/mugs/none.jpg,a\nphotos/mugs/1.jpg,b\n", "{ image = 'file', label = 'tag', on_bad = 'error' }",
      "none.jpg")
    csv("file,tag\n\"photos/mugs/1.jpg,a\n", "{ image = 'file', label = 'tag' }", "list.csv")
    csv("file,a,b\nphotos/mugs/1.jpg,1,2\nphotos/mugs/2.png,0,1\n", "{ image = 'file', labels = { 'a', 'b' } }", "2")
    csv("file,tag\nphotos/mugs/1.jpg\nphotos/mugs/2.png,x\n", "{ image = 'file', label = 'tag' }", "list.csv")
  end)
end)

describe("what cannot be written", function()
  it("is an error that names the file, and leaves the old one", function()
    local old = helpers.path "old.safetensors"
    core.write(old, helpers.read(weights))
    local recipe = helpers.recipe(("local graft = require 'graft'\ngraft.load(%q):save(%q)"):format(weights, old))
    helpers.refused({ "run", recipe, "--trust" }, 1, { "old.safetensors", "File too large" },
      { before = "trap '' XFSZ; ulimit -f 4;" })
    assert.is_true(helpers.read(old) == helpers.read(weights))
    helpers.refused({ "convert", weights, helpers.path "new.safetensors" }, 1, "new.safetensors",
      { before = "trap '' XFSZ; ulimit -f 4;" })
    helpers.refused({ "embed", weights, photos .. "/mugs", "--out", "/nowhere/e.npy" }, 1, "/nowhere/e.npy")
    helpers.refused({ "run", "head_only", "--data", photos, "--weights", weights, "--out", "/dev/null/run" }, 1, "/dev/null/run")
    assert.is_nil(core.stat(helpers.path "new.safetensors"))
    assert.equal(0, #helpers.shell(("ls -A '%s' | grep -v '^[a-z_0-9-]*\\(\\.[a-z]*\\)*$'"):format(helpers.root)))
  end)
end)

describe("pipes and devices", function()
  it("are not read, and nothing waits for them", function()
    local pipe = helpers.path "pipe.jpg"
    helpers.shell(("mkfifo '%s'"):format(pipe))
    for _, path in ipairs { pipe, "/dev/zero" } do
      helpers.refused({ "inspect", path }, 1, { path, "device or a pipe" })
      helpers.refused({ "predict", weights, path }, 1, { path, "device or a pipe" })
      helpers.refused({ "convert", path, helpers.path "piped.safetensors" }, 1, { path, "device or a pipe" })
      helpers.refused({ "run", path }, 1, { path, "expected a recipe file" })
      refused(photos, path, { path, "device or a pipe" })
      refused(path, weights, path)
    end
    local folder = helpers.photos("piped", { "bowls", "mugs", "plates" }, 10)
    helpers.shell(("mkfifo '%s/mugs/p.jpg'"):format(folder))
    assert.contains("p.jpg", helpers.done({ "inspect", folder }).out)
  end)
end)

describe("names that would write on the terminal", function()
  it("are shown harmless", function()
    local folder = helpers.photos("escape", { "bowls", "mugs" }, 10)
    helpers.write(folder .. "/mugs/\27[31mred.jpg", "text")
    local result = helpers.graft { "inspect", folder }
    assert.falsy(result.out:find("\27", 1, true))
    result = helpers.graft { "predict", weights, folder .. "/mugs/\27[31mred.jpg" }
    assert.falsy(result.err:find("\27", 1, true), "in a message")
  end)
end)
