-- Every function of Graft's that a script can reach, each with arguments that it takes: what tests/fuzz/api.lua spoils.
local graft = require "graft"
local core = require "graft.core"
local hostile = require "hostile"
local M = hostile.makers
local T = core.tensor

local targets = {}

-- Adds a function: its name, how to get it (or the function), a function that gives proper arguments (none when absent).
-- `public`: it belongs to what recipes use, so that its errors have to be Graft's. `refuses`: it may refuse even these.
local function add(name, get, arguments, public, refuses)
  targets[#targets + 1] = { name = name, get = get, arguments = arguments or function() end, public = public,
    refuses = refuses or not arguments }
end

local function each(t)
  local names = {}
  for name in next, t do
    names[#names + 1] = type(name) == "string" and name or nil
  end
  table.sort(names)
  local i = 0
  return function()
    i = i + 1
    return names[i], names[i] and rawget(t, names[i])
  end
end

local sgd = { kind = "sgd", lr = 0.1, momentum = 0.9, weight_decay = 0.1, dampening = 0, nesterov = false }

local function fresh_layer(kind)
  return { kind = kind or "double", shape = function(shape) return shape end, pure = true, options = {},
    parameters = { { name = "weight", shape = { 2 }, init = "ones", decays = false } },
    forward = function(x) return x * 2, x end, backward = function(gy) return gy * 2, { T.zeros(2) } end }
end

local function data_options()
  return { val = 0.25, classes = { "ants", "bees" }, size = 8, on_bad = "skip", max_skip = 1 }
end

local function description()
  local net <close> = M.handle()
  return net:describe()
end

-- ---- core ----

local core_arguments = {
  seed = function() return 3 end,
  fit = function() return 1 end,
  threads = function() return 2 end,
  memory = function() return 1 << 28 end,
  terminal = function() return "stdout" end,
  error = function() return "name", "message", "near", true end,
  is_error = function() return {} end,
  exit = function() return 0 end,
  class = function() return "tensor" end,
  nearest = function() return "conv", { "conv1", "conv2" } end,
  glob = function() return "conv*", "conv1" end,
  format_bytes = function() return 1000 end,
  format_seconds = function() return 1000 end,
  format_count = function() return 1000 end,
  printable = function() return "text\27" end,
  random = function() return "sample", 1, 2, 3, 4 end,
  shuffle = function() return 5, 1, 2, 3 end,
  history = function() return "history" end,
  read_line = function() return "> ", function() end end,
  json = function() return { a = { 1, "x", true } }, true end,
  parse_json = function() return '{"a": [1, 2.5, "x", null, true]}' end,
  array = function() return {} end,
  digest = function() return "text" end,
  digest_file = function() return "text.txt" end,
  embedded = function() return "recipes/head_only.lua" end,
  stat = function() return "photos" end,
  list = function() return "photos" end,
  make_folder = function() return "made/here" end,
  remove = function() return "nothing" end,
  rename = function()
    core.write("old name", "x")
    return "old name", "new name"
  end,
  read = function() return "text.txt", 100 end,
  write = function() return "written.txt", "text" end,
  absolute = function() return "photos" end,
  pack_read = function()
    core.pack_write("packed.graft", { recipe = "print(1)", lock = "{}" })
    return "packed.graft", true
  end,
  pack_write = function() return "written.graft", { recipe = "print(1)", lock = "{}", report = "text", weights = M.model() } end,
  pack_is = function() return "text.txt" end,
  network = function()
    return "name", { 3, 8, 8 }, { resize = 10, stretch = true, interpolation = "bicubic", mean = { 0, 0, 0 },
      std = { 1, 1, 1 }, bgr = true }, 7
  end,
  build = function() return description(), 3 end,
  weights = function() return M.model() end,
  save_weights = function() return "saved.safetensors", { { "a", T.ones(2) }, { "b", T.ones(2, 2) } }, { key = "text" } end,
  save_model = function() return M.handle(), "saved.safetensors", { aux = true, metadata = { key = "text" } } end,
  snapshot = function() return M.handle(), true end,
  load_model = function() return M.model() end,
  image_load = M.path,
  image_save = function() return M.image(), "saved.jpg", 90 end,
  image_resize = function() return M.image(), 5, 4, "bicubic" end,
  image_blocks = function() return M.image(), 10, 10, "24bit" end,
  image_maps = function() return M.image(), 3, 2, 4, 4, 0, 1, "256" end,
  image_size = M.path,
  preprocess = function() return M.handle(), M.image() end,
  data_folder = function() return "photos", data_options() end,
  data_csv = function()
    local o = data_options()
    o.image, o.labels, o.separator, o.split, o.classes = "file", "tags", "|", "part", { "a", "b" }
    o.val = nil
    return "tags.csv", o
  end,
  data_list = function()
    return { { image = "photos/ants/1.png", class = "ants" }, { image = "photos/bees/1.png", class = "bees" } },
      { val = 0, on_bad = "error" }
  end,
  data_idx = function() return "photos", { names = { "a" }, val = 0.2 } end,
  loss = function()
    return { kind = "cross_entropy", label_smoothing = 0.1, class_weights = { 1, 2 } }, T.rand(2, 2), M.y(), { "a", "b" }
  end,
  optimizer = function() return sgd end,
  schedule = function() return { kind = "cosine", floor = 0.1, warmup = 0.2 }, 0.1, 3, 10, 5 end,
  trainer = function()
    return M.handle(), { optimizer = sgd, loss = { kind = "cross_entropy", label_smoothing = 0.1 },
      schedule = { kind = "one_cycle", warmup = 0.3 }, steps = 10, epoch_steps = 5, clip = 1, batch_size = 2, fit = 1,
      seed = 3, fixed_norms = true }
  end,
  bench = function() return M.handle(), { batch = 2, training = true } end,
  child = function() return { "--version" } end,
  evaluate = function()
    return M.handle(), M.set(), { batch_size = 2, loss = { kind = "mse" }, heads = true, size = 8,
      remembered = false, progress = function() end }
  end,
  interval = function() return 3, 10 end,
  cut = function() return M.handle(), 8 end,
  features = function()
    local net = M.handle()
    net:freeze "conv1"
    return net, { M.set() }, { budget = 1 << 12, size = 8, folder = "photos", views = 2, augment = "light", seed = 3,
      remember = true, only_found = false, progress = function() end }
  end,
  outputs = function()
    local net = M.handle()
    net:freeze "conv1"
    return net, M.set(), "conv1", { size = 8 }, function() end
  end,
  register_layer = fresh_layer,
}

-- Waits for somebody who types.
local blocking = { read_line = core.terminal "stdin" ~= nil }

core_arguments.remember = function() return "1 + 1" end
core_arguments.make_private = function() return "private" end

for name, f in each(core) do
  if type(f) == "function" and not blocking[name] then
    add("core." .. name, f, core_arguments[name], false, name == "error" or name == "data_idx")
  end
end

-- ---- tensors ----

local maker_arguments = {
  zeros = function() return 2, 3 end,
  ones = function() return { 2, 3 } end,
  full = function() return { 2, 3 }, 0.5 end,
  eye = function() return 3, 4 end,
  rand = function() return 2, 3 end,
  randn = function() return 2, 3 end,
  range = function() return 1, 5, 2 end,
  arange = function() return 1, 5, 2 end,
  linspace = function() return 0, 1, 5 end,
  concat = function() return { T.zeros(2, 3), T.ones(2, 3) }, 2 end,
  cat = function() return { T.zeros(2, 3), T.ones(2, 3) }, 1 end,
  stack = function() return { T.zeros(2, 3), T.ones(2, 3) }, 2 end,
}
for name, f in each(T) do
  if type(f) == "function" then
    add("graft." .. name, f, maker_arguments[name], true)
  end
end
add("graft.tensor", function(...) return T.tensor(...) end, function() return { { 1, 2 }, { 3, 4 } } end, true)
add("graft.tensor.load", T.tensor.load, M.npy, true)

local function on(x, ...)
  local rest = table.pack(...)
  return function() return x(), table.unpack(rest, 1, rest.n) end
end

local method_arguments = {
  slice = on(M.t, 2, 1, 2), select = on(M.t, 2, 1), at = on(M.t, 1, 2), transpose = on(M.t, 1, 2),
  permute = on(M.t, 2, 1), reshape = on(M.t, 2, -1), view = on(M.t, 2, 6), unsqueeze = on(M.t, 1),
  squeeze = function() return T.zeros(1, 3), 1 end,
  expand = function() return T.zeros(1, 3), 4, 3 end,
  fill = on(M.t, 1), fill_ = on(M.t, 1), copy_ = function() return M.t(), M.t() end,
  save = on(M.t, "saved.npy"), item = function() return T.ones(1) end,
  matmul = function() return T.ones(2, 3), T.ones(3, 2) end,
  softmax = on(M.t, 2), log_softmax = on(M.t, 2), clamp = on(M.t, 0, 1), topk = on(M.t, 2, 2, true),
  where = function() return M.t(), M.t(), 0.5 end, argsort = on(M.t, 1, true),
}
local binary = { add = 1, sub = 1, mul = 1, div = 1, pow = 1, maximum = 1, minimum = 1, eq = 1, ne = 1, lt = 1, le = 1, gt = 1,
  ge = 1 }

local function tensor_methods()
  local _, methods = debug.getupvalue(debug.getmetatable(T.zeros(1)).__index, 1)
  for name, f in each(methods) do
    local arguments = method_arguments[name]
    if not arguments and binary[name:gsub("_$", "")] then
      arguments = function() return M.t(), M.t() end
    elseif not arguments and pcall(f, M.t(), 1, true) then
      arguments = on(M.t, 1, true)
    end
    add("x:" .. name, f, arguments or M.t, true)
  end
end
tensor_methods()

-- ---- what only core hands out ----

local handle_arguments = {
  add = function() return "conv2d", "more", { out = 2, kernel = 3, padding = "same" }, { "layer1.conv" } end,
  finish = function() return { output = "layer1.conv", head = "layer1.conv", stages = { "conv1" } } end,
  mark_aux = function() return "conv1", "fc", 0.3 end,
  set_classes = function() return { "one", "two" } end,
  set_multilabel = function() return true end,
  set_name = function() return "name" end,
  set_size = function() return 12 end,
  set_preprocessing = function() return { resize = 9, mean = { 0.1, 0.2, 0.3 }, std = { 1, 2, 3 } } end,
  set_metadata = function() return "key", "text" end,
  set_source = function() return "file" end,
  choose = function() return { "body", "conv*" } end,
  layer_end = function() return "layer1" end,
  get = function() return "fc.weight" end,
  set = function() return "fc.bias", T.zeros(2) end,
  parameters = function() return true end,
  digest = function() return true end,
  freeze = function() return { "conv1" } end,
  unfreeze = function() return "*" end,
  fix_norms = function() return { "*" }, true end,
  reinit = function() return { "*" } end,
  lr_scale = function() return { { "*", 0.1 }, { "head", 1 } } end,
  replace_head = function() return { "a", "b", "c" }, { hidden = 3, dropout = 0.5 } end,
  add_head = function() return { "a", "b", "c" }, { hidden = 3, dropout = 0.5 } end,
  add_aux = function() return "conv1", { weight = 0.5, hidden = 4, pool = "avg" } end,
  cut = function() return "layer1" end,
  forward = function() return M.x(), { "conv1", "fc" } end,
  plan = function() return { input = { 3, 8, 8 }, capacity = 2, training = true, layers = { "fc" } } end,
  step_gradient = function() return M.x(), M.y() end,
  retain_plans = function() return false end,
}

local function methods_of(make, name, arguments, refuses)
  local methods = debug.getmetatable(make()).__index
  for method, f in each(methods) do
    add(name .. ":" .. method, f, function()
      if arguments[method] then
        return make(), arguments[method]()
      end
      return make()
    end, false, refuses or not arguments[method] or method == "add_head")
  end
end

methods_of(M.handle, "handle", handle_arguments)
methods_of(M.unfinished, "unfinished", handle_arguments, true)
methods_of(M.weights, "weights", {
  get = function() return "fc.weight" end,
  apply = function() return M.handle(), { allow_head = true, allow_aux = true, map = { ["a"] = "b" }, source = "file" } end,
})
methods_of(M.features, "features", {})
methods_of(M.own, "own", handle_arguments, true)
methods_of(M.snapshot, "snapshot", { update = M.handle, restore = M.handle })
methods_of(M.optimizer, "optimizer", { step = function() return { T.zeros(2) }, { T.ones(2) }, 0.1, 1 end })
methods_of(M.trainer, "trainer", {
  step = function() return M.x(), M.y(), {} end,
  step_batch = function() return M.batch(), {} end,
  use = function() return nil end,
  set_lr = function() return 0.5 end,
  set_steps = function() return 10 end,
  logits = function() return 2 end,
  save = function() return "saved.safetensors", { a = 1 } end,
  restore = M.checkpoint,
})
local function stepped()
  local trainer = M.trainer()
  trainer:step(M.x(), M.y())
  return trainer
end
methods_of(stepped, "stepped", { logits = function() return 2 end, step = function() return M.x(), { "ants", "bees" } end })
methods_of(function() return core.bench(M.handle(), { batch = 2, training = true }) end, "bench", {
  profile = function() return true end,
})
methods_of(M.dataset, "dataset", {
  set = function() return "val" end, counts = function() return "train" end, with = M.set,
})
methods_of(M.set, "set", {
  at = function() return 1 end, take = function() return { 1, 2 } end,
  batches = function()
    return { net = M.handle(), batch_size = 2, shuffle = true, epoch = 1, drop_last = true, fit = 1, seed = 1, size = 8,
      view = 0, skip = 0, tensors = true, augment = { { kind = "hflip", p = 0.5 }, { kind = "mixup", alpha = 0.2 },
      { kind = "random_resized_crop", scale = { 0.5, 1 }, ratio = { 0.7, 1.3 } }, { kind = "rotation", degrees = 5 },
      { kind = "color_jitter", brightness = 0.1, contrast = 0.1, saturation = 0.1, hue = 0.1 },
      { kind = "random_erasing", p = 1 } } }
  end,
})
methods_of(M.batch, "batch", { input = M.handle })
methods_of(M.ended_batch, "ended batch", { input = M.handle }, true)

-- Training and looking with functions of the script's own, which come back to everything that is at work.
local function meddler(logits)
  hostile.meddle()
  return 0.5, logits * 0
end
add("meddled training", function(net, options, set)
  local trainer = core.trainer(net, options)
  hostile.present[#hostile.present + 1] = trainer
  trainer:step(M.x(), M.y())
  local step, _, _, closing = set:batches { net = net, batch_size = 2, size = 8 }
  table.move({ step, closing }, 1, 2, #hostile.present + 1, hostile.present)
  local _, _, b = step()
  trainer:step_batch(b)
  step()
  trainer:step(M.x(), M.y())
end, function() return M.own(), { optimizer = sgd, loss = meddler }, M.set() end)
add("meddled looking", function(net, set, options)
  net:forward(M.x())
  net:plan { capacity = 2, input = { 3, 9, 9 } }
  core.evaluate(net, set, options)
  core.features(net:freeze { "own", "conv1" }, { set }, { progress = meddler })
  net:clone():set_size(10)
end, function() return M.own(), M.set(), { batch_size = 2, progress = meddler, loss = meddler } end)
add("meddled features", function(net, set)
  local features = core.features(net, { set }, { progress = meddler })
  local trainer = core.trainer(net, { optimizer = sgd, loss = meddler })
  trainer:use(features)
  local step, _, _, closing = set:batches { net = net, batch_size = 2, features = features, tensors = false }
  table.move({ features, trainer, step, closing }, 1, 4, #hostile.present + 1, hostile.present)
  for _ = 1, 2 do
    local _, _, b = step()
    trainer:step_batch(b)
  end
  core.evaluate(net, set, { features = features, progress = meddler })
end, function() return M.handle():freeze { "conv1", "bn1" }, M.set() end)

-- The whole loop: the options decide, and the photos are made.
add("set:batches, all of them", function(set, options)
  for _, _, b in set:batches(options) do
    b:files()
    b:classes()
  end
end, function()
  return M.set(), { net = M.handle(), batch_size = 3, size = 8, shuffle = true, augment = { { kind = "rotation",
    degrees = 5 }, { kind = "random_resized_crop", scale = { 0.5, 1 }, ratio = { 0.7, 1.3 } }, { kind = "color_jitter",
    brightness = 0.1, contrast = 0.1, saturation = 0.1, hue = 0.1 }, { kind = "random_erasing", p = 1 },
    { kind = "mixup", alpha = 0.4 } } }
end)

-- ---- graft ----

local function fit_options()
  return { epochs = 2, batch_size = 4, optimizer = graft.sgd { lr = 0.1 }, schedule = graft.cosine {}, augment = "light",
    keep = "last", cache = { pool = 1, memory = 1 << 20 }, on_epoch = function() end, loss = graft.nn.mse {},
    val = M.d().val, patience = 2, clip = 1, name = "x", threads = 1, bn = "fixed", monitor = "val_loss", drop_last = true }
end

local public_arguments = {
  seed = function() return 1 end,
  out = function() return "name" end,
  options = function() return { epochs = 3, data = { type = "folder", default = "x", help = "text" } } end,
  config = function() return { threads = 2, memory = 1 << 28, progress = false } end,
  load = function() return M.model(), { classes = { "x", "y" } } end,
  fit = function()
    local net = M.net()
    net:freeze "conv1"
    return net, M.d(), fit_options()
  end,
  fine_tune = function() return M.net(), M.d(), { epochs = 1, batch_size = 4, lr = 0.1, augment = "none" } end,
  plan = function() return M.net(), M.d(), { epochs = 1, batch_size = 4 } end,
  trainer = function()
    return M.net(), { optimizer = graft.adam { lr = 1 }, loss = graft.nn.mse {}, schedule = graft.step { every = 2 },
      steps = 5, clip = 1, batch_size = 2, bn = "fixed" }
  end,
  evaluate = function() return M.net(), M.public_set(), { batch_size = 2, loss = graft.nn.mse {}, progress = function() end } end,
  embed = function() return M.net(), M.public_set(), { at = "conv1", pool = "max", normalize = true, batch_size = 2 } end,
  report = function() return M.result(), "report.html" end,
  sgd = function() return { lr = 1, momentum = 0.5, dampening = 0, weight_decay = 0, nesterov = true } end,
  adam = function() return { lr = 1, betas = { 0.5, 0.6 }, eps = 1, weight_decay = 0 } end,
  adamw = function() return { lr = 1, betas = { 0.5, 0.6 }, eps = 1, weight_decay = 0 } end,
  rmsprop = function() return { lr = 1, alpha = 0.5, eps = 1, centered = true, momentum = 1, weight_decay = 0 } end,
  constant = function() return { warmup = 0.1 } end,
  step = function() return { every = 3, factor = 0.5, warmup = 0.1 } end,
  cosine = function() return { floor = 0.1, warmup = 0.1 } end,
  one_cycle = function() return { warmup = 0.1 } end,
}

local function core_only(f)
  for _, other in next, core do
    if rawequal(f, other) then
      return true
    end
  end
  return false
end

for name, f in each(graft) do
  if type(f) == "function" and not rawget(T, name) then
    add("graft." .. name, f, public_arguments[name], not core_only(f))
  end
end

local inside = {
  ["graft.data"] = {
    folder = function() return "photos", data_options() end,
    csv = core_arguments.data_csv, idx = core_arguments.data_idx, list = core_arguments.data_list,
  },
  ["graft.image"] = {
    load = M.path, save = core_arguments.image_save, resize = core_arguments.image_resize, show = M.image,
  },
  ["graft.augment"] = {
    hflip = function() return { p = 0.5 } end, rotation = function() return { degrees = 5 } end,
    random_resized_crop = function() return { scale = { 0.5, 1 }, ratio = { 0.5, 2 } } end,
    color_jitter = function() return { brightness = 0.1, contrast = 0.1, saturation = 0.1, hue = 0.1 } end,
    random_erasing = function() return { p = 0.1 } end, mixup = function() return { alpha = 0.1 } end,
  },
  ["graft.nn"] = {
    network = function()
      return { name = "n", input = { 3, 8, 8 }, classes = { "a", "b" }, head = "fc", stages = {}, preprocessing = {},
        outputs = 2, build = function(x) return x:global_avg_pool():linear("fc", { out = 2 }) end }
    end,
    layer = fresh_layer,
    concat = function()
      local x = M.node()
      return { x, x }
    end,
    check = function() return graft.nn.mse {}, { 3, 4 } end,
    cross_entropy = function() return { label_smoothing = 0.1, class_weights = { a = 1 } } end,
    binary_cross_entropy = function() return { class_weights = { a = 1 } } end,
    mse = function() return {} end,
    record = false, loss_fields = false, -- the library's own
  },
}
for group, known in next, inside do
  for name, f in each(graft[group:match "%.(.*)"]) do
    if known[name] ~= false then
      add(group .. "." .. name, f, known[name], true, name == "idx")
    end
  end
end
for name, f in each(graft.models) do
  if type(f) == "function" and (name == "squeezenet1_1" or name == "googlenet" or name == "tiny_darknet") then
    add("graft.models." .. name, f, function() return { classes = { "a", "b" } } end, true)
  end
end

-- ---- methods of what recipes hold ----

local net_arguments = {
  freeze = function() return "body", "conv*" end,
  unfreeze = function() return { "*", bn = "fixed" } end,
  reinit = function() return "head" end,
  lr_scale = function() return { { "*", 0.1 } } end,
  replace_head = function() return { "a", "b", "c" }, { hidden = 4, dropout = 0.1 } end,
  add_head = function() return { "a", "b", "c" }, { hidden = 4, dropout = 0.1 } end,
  add_aux = function() return "conv1", { classes = { "ants", "bees" }, weight = 0.1, hidden = 3, pool = "avg" } end,
  cut = function() return "layer1" end,
  parameters = function() return true end,
  save = function() return "saved.safetensors", { aux = true } end,
  forward = function() return M.x(), { heads = true } end,
  features = function() return M.x(), { "conv1", "layer1" } end,
  preprocess = M.image,
  predict = function() return { M.image(), M.path() }, { top = 2 } end,
  layers = function() return "conv*" end,
  summary = function() return "conv*" end,
}
for name in each(require("graft.network").methods) do
  local arguments = net_arguments[name]
  add("net:" .. name, function(net, ...) return net[name](net, ...) end, function()
    if arguments then
      return M.net(), arguments()
    end
    return M.net()
  end, true, name == "add_head" or name == "eval" or name == "train")
end

local function method(prefix, make, name, arguments, refuses)
  add(prefix .. name, function(object, ...) return object[name](object, ...) end, function()
    return make(), arguments()
  end, true, refuses)
end

local flat = { linear = true, add = true, multiply = true } -- kinds that one node of a photo's shape is not enough for

local function nothing() end

method("tr:", M.tr, "step", function() return M.x(), M.y() end)
method("tr:", M.tr, "evaluate", M.public_set)
method("tr:", M.tr, "epochs", function() return 3 end)
method("tr:", M.tr, "log", function() return { epoch = 1, train_loss = 0.1, val_accuracy = 0.5 } end)
method("data:", M.d, "take", function() return { per_class = 1, seed = 2 } end)
method("set:", M.public_set, "take", function() return { per_class = 1, seed = 2 } end)
method("set:", M.public_set, "batches", function()
  return { net = M.net(), batch_size = 2, shuffle = true, epoch = 1, drop_last = false, size = 8,
    augment = { graft.augment.hflip {}, graft.augment.mixup {} } }
end)
method("b:", M.b, "input", M.net)
add("loss:call", function(loss, ...) return loss(...) end, function() return graft.nn.mse {}, T.rand(2, 2), M.y() end, true)

-- Layers as methods of nodes, each kind with each of its options.
local node_options = {
  conv2d = { out = 2, kernel = 3, stride = { 2, 1 }, padding = { 1, 0, 1, 0 }, dilation = 2, groups = 1, bias = true },
  linear = { out = 2 }, group_norm = { groups = 1 }, adaptive_avg_pool = { size = 2 }, max_pool = { kernel = 2 },
  avg_pool = { kernel = 2 }, dropout = { p = 0.5 }, leaky_relu = { slope = 0.1 },
}
for _, kind in ipairs(core.kinds()) do
  local name = kind.name
  if name ~= "input" and name ~= "custom" and name ~= "concat" then
    method("node:", M.node, name, function()
      local options = {}
      for _, option in ipairs(kind.options) do
        options[option.name] = node_options[name] and node_options[name][option.name] or option.default
      end
      return kind.weights and "name" or nil, options
    end, flat[name])
    -- and through to photos, when the network could be built
    add("network of " .. name, function(options)
      local net = core.network("n", { 3, 8, 8 })
      local inputs = (name == "add" or name == "multiply") and { "input", "input" } or { "input" }
      local made = net:add(name, "layer", options, inputs)
      if name:find "global" or name == "flatten" then
        net:add("relu", "pool", nil, { made })
      else
        net:add("global_avg_pool", "pool", nil, { made })
      end
      net:add("linear", "fc", { out = 2 }, { "pool" })
      net:finish { output = "fc" }
      net:forward(T.rand(1, 3, 8, 8))
      return net:step_gradient(T.rand(2, 3, 8, 8), T.rand(2, 2))
    end, function()
      local options = {}
      for _, option in ipairs(kind.options) do
        options[option.name] = node_options[name] and node_options[name][option.name] or option.default
      end
      return options
    end, false, name == "linear")
  end
end
method("node:", M.node, "apply", function() return "name", graft.nn.layer(fresh_layer "applied"), {} end)

-- ---- what a script does to an object without a method ----

local operators = {
  index = function(a, b) return a[b] end,
  newindex = function(a, b, c) a[b] = c end,
  call = function(a, ...) return a(...) end,
  length = function(a) return #a end,
  tostring = function(a) return tostring(a) end,
  add = function(a, b) return a + b end,
  sub = function(a, b) return a - b end,
  mul = function(a, b) return a * b end,
  div = function(a, b) return a / b end,
  pow = function(a, b) return a ^ b end,
  unm = function(a) return -a end,
  eq = function(a, b) return a == b end,
  less = function(a, b) return a < b end,
  concat = function(a, b) return a .. b end,
  ipairs = function(a)
    local n = 0
    for _ in ipairs(a) do
      n = n + 1
      if n > 100 then
        return
      end
    end
  end,
  pairs = function(a)
    for _ in pairs(a) do
      nothing()
    end
  end,
  close = function(a) local _ <close> = a end,
}
for name, make in each(M) do
  for operator, f in each(operators) do
    add(name .. " " .. operator, f, function() return make(), 1, 1 end, false, true)
  end
end

return targets
