-- graft export and net:export: what is in the file, told by a reader of the tests' own (onnx_reader.lua). That other
-- programs get Graft's numbers from such files is checked by tests/fixtures/check_onnx.py, with ONNX Runtime.
local graft = require "graft"
local core = require "graft.core"
local every_layer = require "every_layer"
local helpers = require "helpers"
local onnx_reader = require "onnx_reader"

local function exported(net, options)
  local path = helpers.fresh "net" .. ".onnx"
  assert.equal(net, net:export(path, options))
  local model = onnx_reader.parse(helpers.read(path))
  onnx_reader.check(model)
  return model, path
end

local function handle(net)
  return require("graft.network").handle(net, "test")
end

-- A network of one layer that `build` puts between a convolution and the classifier.
local function around(build, classes)
  return graft.nn.network { name = "around", input = { 3, 6, 6 }, classes = classes or { "a", "b" }, build = function(x)
    return build(x:conv2d("conv", { out = 4, kernel = 3 })):global_avg_pool():linear("fc", { out = classes and #classes or 2 })
  end }
end

describe("an exported network", function()
  it("is the listing of operators that ONNX Runtime computed like Graft", function()
    local model = exported(every_layer.network(helpers.path "scratch.safetensors"), { aux = true })
    local kinds = {}
    for _, kind in ipairs(core.kinds()) do
      kinds[kind.name] = kind.name ~= "custom" and kind.name ~= "input" or nil
    end
    for _, layer in every_layer.network(helpers.path "scratch.safetensors"):layers() do
      kinds[layer.kind] = nil
    end
    assert.same({}, kinds, "kinds of layers that the network does without")
    assert.equal(helpers.read(helpers.tests .. "/fixtures/onnx/every_layer.txt"), onnx_reader.listing(model))
    assert.same({ 8, 17, "graft", core.version, "every_layer" },
      { model.format, model.operator_set, model.producer, model.version, model.name })
  end)

  it("has every tensor under its name, with its numbers, but for the counters of training", function()
    local net = every_layer.network(helpers.path "scratch.safetensors")
    local model, found = exported(net, { aux = true }), {}
    for _, constant in ipairs(model.constants) do
      found[constant.name] = constant
    end
    net:save(helpers.path "every.safetensors", { aux = true })
    local count = 0
    for name, tensor in pairs(helpers.tensors(helpers.path "every.safetensors")) do
      if not name:find "num_batches_tracked$" then
        local got = assert(found[name], name)
        count = count + 1
        assert.is_true(graft.tensor(got.values):reshape(table.unpack(tensor.shape)) == tensor, name)
      end
    end
    assert.equal(34, count)
  end)

  it("is the same file each time, and of a network that was saved and loaded", function()
    local net = every_layer.network(helpers.path "scratch.safetensors"):remove_aux()
    local _, first = exported(net)
    local _, second = exported(net:clone())
    assert.equal(core.digest_file(first), core.digest_file(second))
    local saved = helpers.path "saved.safetensors"
    net:save(saved)
    local _, third = exported(graft.load(saved):remove_aux())
    local a, b = onnx_reader.parse(helpers.read(first)), onnx_reader.parse(helpers.read(third))
    assert.equal(onnx_reader.listing(a), onnx_reader.listing(b))
    assert.same(a.constants, b.constants)
  end)

  it("leaves dropout and auxiliary classifiers out, unless these are asked for", function()
    local net = every_layer.network(helpers.path "scratch.safetensors")
    local model = exported(net)
    for _, operator in ipairs(model.nodes) do
      assert.falsy(operator.name:find "^aux" or operator.name == "drop" or operator.name == "last", operator.name)
    end
    assert.same({ { name = "logits", shape = { "N", 4 } } }, model.outputs)
    assert.equal("deep/logits", exported(net, { aux = true }).outputs[2].name)
    local last = graft.nn.network { name = "last", input = { 3, 4, 4 }, classes = { "a", "b" }, build = function(x)
      return x:flatten():linear("fc", { out = 2 }):dropout(0.5)
    end }
    assert.equal("logits", exported(last).nodes[2].output)
    assert.equal(2, #exported(last).nodes)
  end)

  it("tells classes and preprocessing, and what is known of the weights", function()
    local classes = { 'say "cheese"', "back\\slash", "gr\u{fc}n \u{1f33f}", "</script>" }
    local net = graft.nn.network { name = "told", input = { 3, 8, 6 }, classes = classes,
      preprocessing = { resize = 9, interpolation = "bicubic", mean = { 0.485, 0.456, 0.1 }, std = { 0.229, 1, 1 / 3 },
        bgr = true },
      build = function(x) return x:flatten():linear("fc", { out = 4 }) end }
    handle(net):set_metadata("licence", "MIT")
    local model = exported(net)
    assert.same(classes, core.parse_json(model.metadata["graft.classes"]))
    assert.equal('{"size":[8,6],"resize":9,"stretch":false,"interpolation":"bicubic","channels":"BGR","scale":"1/255",'
      .. '"mean":[0.485,0.456,0.1],"std":[0.229,1,0.33333334]}', model.metadata["graft.preprocessing"])
    assert.equal("softmax", model.metadata["graft.probabilities"])
    assert.equal("told", model.metadata["graft.network"])
    assert.equal("MIT", model.metadata.licence)
    assert.contains("[N,3,8,6]", model.doc)
    handle(net):set_multilabel(true)
    assert.equal("sigmoid", exported(net).metadata["graft.probabilities"])
  end)

  it("gives features, and tells of no probabilities, when it has no classifier", function()
    local model = exported(graft.load(helpers.weights()):cut "layer2")
    assert.same({ { name = "features", shape = { "N", 12, 8, 8 } } }, model.outputs)
    assert.falsy(model.metadata["graft.probabilities"] or model.metadata["graft.classes"] or model.doc:find "logits")
    assert.truthy(model.metadata["graft.preprocessing"])
  end)

  it("has names of its own for what stands between, whatever the layers are called", function()
    local net = graft.nn.network { name = "names", input = { 3, 4, 4 }, classes = { "a", "b" }, build = function(x)
      x = x:conv2d("image", { out = 4, kernel = 1 }):group_norm("a", { groups = 2 }):group_norm("a/grouped", { groups = 2 })
      x = x:batch_norm "logits":silu("a/output"):silu "a/scaled":relu6 "gr\u{fc}n"
      return x:global_avg_pool("pool"):linear("pool/pooled", { out = 2 })
    end }
    local names = {}
    for i, operator in ipairs(exported(net).nodes) do
      names[i] = operator.name
    end
    assert.contains("image a/grouped_ a/normal", table.concat(names, " "))
    assert.contains("pool/pooled_ pool pool/pooled", table.concat(names, " "))
  end)

  it("is refused by name when a layer is written in Lua, and then nothing is written", function()
    local scale = graft.nn.layer { kind = "half_of_it", forward = function(x) return x * 0.5 end }
    local net = around(function(x) return x:apply("gate", scale) end)
    local path = helpers.path "refused.onnx"
    local ok, failure = pcall(net.export, net, path)
    assert.is_false(ok)
    assert.equal("option", failure.kind)
    assert.equal(("net:export: %s: layer \"gate\": kind \"half_of_it\" is written in Lua, and ONNX has no operator for it; "
      .. "a network can be exported when all its layers are Graft's own"):format(path), failure.message)
    assert.falsy(core.stat(path))
  end)

  it("says what is wrong with a path or an option", function()
    local net = around(function(x) return x end)
    for _, case in ipairs { { "none/here.onnx", nil, "file", "none/here.onnx: cannot be created" },
      { 5, nil, "option", "net:export: the path" }, { "x.onnx", { auxx = true }, "option", "auxx" } } do
      local ok, failure = pcall(net.export, net, case[1], case[2])
      assert.is_false(ok)
      assert.equal(case[3], failure.kind)
      assert.contains(case[4], failure.message)
    end
  end)

  it("is written by a recipe into its run folder only, and by a plan not at all", function()
    local text = helpers.mini_text .. 'local net = mini { "a", "b" }\n'
    local recipe = helpers.recipe('local graft = require "graft"\n' .. text .. 'net:export(graft.out "mini.onnx")')
    local out, planned = helpers.fresh "run", helpers.fresh "run"
    helpers.done { "run", recipe, "--out", out }
    onnx_reader.check(onnx_reader.parse(helpers.read(out .. "/mini.onnx")))
    helpers.done { "plan", recipe, "--out", planned }
    assert.falsy(core.stat(planned .. "/mini.onnx"))
    local outside = helpers.path "outside.onnx"
    helpers.refused({ "run", helpers.recipe('local graft = require "graft"\n' .. text .. ("net:export(%q)"):format(outside)),
      "--out", helpers.fresh "run" }, 1, "outside.onnx")
    assert.falsy(core.stat(outside))
  end)
end)

describe("graft inspect of an ONNX file", function()
  local onnx = require "graft.onnx"
  local function field(number, value)
    return type(value) == "number" and string.char(number << 3, value) or string.char(number << 3 | 2, #value) .. value
  end
  -- As an old program may have written it: a weight among the inputs, a shape without numbers, another operator set first.
  local function foreign(name)
    local function value(called, ...)
      local dims = ""
      for _, dim in ipairs { ... } do
        dims = dims .. field(1, dim)
      end
      return field(1, called) .. field(2, field(1, field(1, 1) .. field(2, dims)))
    end
    local graph = field(1, field(1, "x") .. field(1, "w") .. field(2, "y") .. field(4, name)) .. field(2, "g")
      .. field(5, field(1, 3) .. field(2, 1) .. field(8, "w") .. field(9, ("\0"):rep(12)))
      .. field(11, value("x", field(2, "batch"), field(1, 3), "")) .. field(11, value("w", field(1, 3)))
      .. field(12, field(1, "y"))
    return field(1, 4) .. field(2, "other") .. field(7, graph) .. field(8, field(1, "ai.other") .. field(2, 1))
      .. field(8, field(2, 9)) .. field(14, field(1, "note") .. field(2, "a\27b"))
  end

  it("says whose it is and what goes in and out, of Graft's own and of others'", function()
    local own = helpers.path "own.onnx"
    graft.load(helpers.weights()):export(own)
    local text = helpers.done({ "inspect", own }).out
    for _, piece in ipairs { "an ONNX file of format 8, operator set 17, ", "written by  graft " .. core.version
      .. "; the network is mini", "6 Conv, 5 BatchNormalization, 5 Relu, 1 Add and 3 more", "input       image [N,3,16,16]\n",
      "output      logits [N,5]\n", "classes     one, two, three, four and 1 more", "Graft does not read ONNX" } do
      assert.contains(piece, text)
    end
    local document = helpers.json { "inspect", own }
    assert.same({ "onnx", 8, 17, "graft", 20 }, { document.kind, document.format, document.operator_set, document.producer,
      document.operators })
    local path = helpers.write(helpers.path "foreign.bin", foreign "Do\27[31m")
    text = helpers.done({ "inspect", path }).out
    assert.contains("operator set 9", text)
    assert.contains("1 Do\\x1b[31m", text)
    assert.contains("input       x [batch,3,?]\n", text)
    assert.contains("output      y\n", text)
    assert.equal("a\27b", helpers.json({ "inspect", path }).metadata.note)
  end)

  it("believes no length, and takes no cut or changed file for a whole one in silence", function()
    local path, whole = helpers.path "broken.onnx", foreign "Relu"
    local function read(bytes)
      helpers.write(path, bytes)
      local ok, failure = pcall(onnx.read, path)
      assert.is_true(ok or core.is_error(failure) and failure.kind == "file" and failure.message:find(path, 1, true) == 1,
        tostring(failure))
      return ok
    end
    assert.is_true(read(whole))
    for size = 0, #whole - 1 do
      read(whole:sub(1, size))
    end
    for at = 1, #whole do
      for _, byte in ipairs { 0, 0x7F, 0x80, 0xFF } do
        read(whole:sub(1, at - 1) .. string.char(byte) .. whole:sub(at + 1))
      end
    end
    assert.is_false(read(whole:sub(1, 20)))
    assert.is_false(read "\8\8\18\255\255\255\255\255\255\255\255\127")
    assert.is_false(read "")
    helpers.refused({ "inspect", helpers.write(path, "not at all") }, 1, "broken.onnx: is no whole ONNX file")
  end)

  it("is where loading one points to", function()
    local own = helpers.path "load.bin"
    graft.load(helpers.weights()):export(own)
    helpers.refused({ "predict", own, "photo.jpg" }, 1,
      "load.bin: is an ONNX file: Graft writes those (graft export) and does not read them")
  end)
end)

describe("graft export", function()
  local model = helpers.weights()

  it("writes the file and tells what is in it and how it is used", function()
    local to = helpers.path "mini.onnx"
    local result = helpers.done { "export", model, to }
    local read = onnx_reader.parse(helpers.read(to))
    onnx_reader.check(read)
    assert.contains(("%s: mini as ONNX (operator set 17), "):format(to), result.out)
    for _, line in ipairs { "network   20 operators, 6,101 parameters", "input     image [N,3,16,16], float32, RGB",
      "middle cut out; (value / 255 - mean) / std", "output    logits [N,5]; their softmax gives probabilities",
      "classes   one, two, three, four and 1 more", "metadata  graft.classes, graft.preprocessing (JSON), graft.probabilities",
      "left out  dropout_1 (acts in training only)", 'use       onnxruntime.InferenceSession("' } do
      assert.contains(line, result.out)
    end
    assert.equal("", result.err)
    assert.same(helpers.old_classes, core.parse_json(read.metadata["graft.classes"]))
  end)

  it("tells the same as one JSON document", function()
    local to = helpers.path "told.onnx"
    local document = helpers.json { "export", model, to }
    assert.equal(core.stat(to).size, document.bytes)
    assert.equal(#onnx_reader.parse(helpers.read(to)).nodes, document.operators)
    local net = graft.load(model)
    assert.equal(net:parameters(), document.parameters)
    assert.same({ "onnx", to, "mini", 17, "image", 0 }, { document.kind, document.file, document.network,
      document.operator_set, document.input.name, document.aux_left_out })
    assert.same({ 3, 16, 16 }, document.input.shape)
    assert.same({ { name = "logits", shape = { 5 } } }, document.outputs)
    assert.same({ "dropout_1" }, document.left_out)
    assert.same(helpers.old_classes, document.classes)
  end)

  it("keeps auxiliary classifiers when asked to, and says so when not", function()
    local with = helpers.path "with_aux.safetensors"
    graft.load(model):add_aux("layer2"):add_aux("layer3"):save(with, { aux = true })
    local to = helpers.path "aux.onnx"
    assert.contains("2 auxiliary classifiers (--aux keeps them)", helpers.done({ "export", with, to }).out)
    assert.equal(1, #onnx_reader.parse(helpers.read(to)).outputs)
    local result = helpers.done { "export", with, to, "--aux", "--force" }
    assert.contains("layer3/logits [N,5]", result.out)
    assert.falsy(result.out:find("--aux keeps", 1, true))
    assert.equal(3, #onnx_reader.parse(helpers.read(to)).outputs)
  end)

  it("writes nothing over unless it is forced to, and says what it needs", function()
    local to = helpers.write(helpers.path "kept.onnx", "mine")
    helpers.refused({ "export", model, to }, 1, { "kept.onnx", "--force" })
    assert.equal("mine", helpers.read(to))
    helpers.done { "export", model, to, "--force" }
    assert.equal("graft", onnx_reader.parse(helpers.read(to)).producer)
    helpers.refused({ "export", model }, 2, "graft export MODEL OUT.onnx")
    helpers.refused({ "export", model, helpers.path "x.safetensors" }, 1, { ".onnx", "graft convert" })
    helpers.refused({ "export", helpers.path "absent.safetensors", helpers.path "x.onnx" }, 1, "absent.safetensors")
    helpers.refused({ "export", model, helpers.path "none/x.onnx" }, 1, "none/x.onnx: cannot be created")
  end)
end)
