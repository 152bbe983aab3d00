-- Values that no function expects, and things of Graft's own to hand them to. Used by tests/fuzz/api.lua.
--
-- Everything is made anew for each call, so that no call can spoil the next; only data sets, which cost time, are kept
-- until somebody closes them.
local graft = require "graft"
local core = require "graft.core"
local T = core.tensor

local hostile = {}

-- What hostile functions raise: an error that is the caller's own and has to arrive as it is.
hostile.marker = setmetatable({}, { __tostring = function() return "raised by a hostile value" end })

local function raise()
  error(hostile.marker, 0)
end

-- ---- Graft's things ----

local folder -- of photos

-- Objects of the present call, and functions that do to them what should not be done during it: close, change, run.
hostile.present = {}
local meddling = false

local deeds = {
  function(o) o:close() end,
  function(o) o:replace_head { "a", "b", "c" } end,
  function(o) o:freeze "*" end,
  function(o) o:set_size(9) end,
  function(o) o:add("relu", nil, nil, { "input" }) end,
  function(o) o:forward(T.rand(1, 3, 9, 9)) end,
  function(o) o:forward(T.rand(40, 3, 8, 8)) end,
  function(o) o:step(T.rand(5, 3, 8, 8), T.rand(5, 2)) end,
  function(o) o:use(nil) end,
  function(o) o:cut "conv1" end,
  function(o) o:restore "checkpoint.safetensors" end,
  function(o) o() end,
  function(o) local _ <close> = o end,
}

function hostile.meddle()
  if meddling then
    return
  end
  meddling = true
  for _, object in ipairs(hostile.present) do
    for _, deed in ipairs(deeds) do
      pcall(deed, object)
    end
  end
  pcall(core.threads, 3)
  collectgarbage()
  meddling = false
end

local function make_photos()
  core.seed(11)
  for _, class in ipairs { "bees", "ants" } do
    core.make_folder("photos/" .. class)
    for i = 1, 4 do
      graft.image.save(T.rand(3, 9, 9), ("photos/%s/%d.png"):format(class, i))
    end
  end
  local rows = { "file,tags,class,part" }
  for i = 1, 4 do
    rows[#rows + 1] = ("photos/ants/%d.png,a|b,ants,train"):format(i)
    rows[#rows + 1] = ("photos/bees/%d.png,b,bees,val"):format(i)
  end
  core.write("tags.csv", table.concat(rows, "\n") .. "\n")
  core.write("text.txt", "no photo\n")
  return "photos"
end

local function core_network(finished)
  local net = core.network("tiny", { 3, 8, 8 }, { mean = { 0.5 }, std = { 0.25 } }, 1)
  net:add("conv2d", "conv1", { out = 4, kernel = 3, padding = 1, bias = false }, { "input" })
  net:add("batch_norm", "bn1", nil, { "conv1" })
  net:add("relu", "relu1", nil, { "bn1" })
  net:add("conv2d", "layer1.conv", { out = 4, kernel = 3, stride = 2, padding = 1 }, { "relu1" })
  if not finished then
    return net
  end
  net:add("global_avg_pool", "pool", nil, { "layer1.conv" })
  net:add("linear", "fc", { out = 2 }, { "pool" })
  net:finish { output = "fc", head = "fc", stages = { "conv1", "layer1" } }
  return net:set_classes { "ants", "bees" }
end

local function public_network()
  return graft.nn.network { name = "small", input = { 3, 8, 8 }, classes = { "ants", "bees" }, head = "fc",
    stages = { "conv1", "layer1" }, build = function(x)
      x = x:conv2d("conv1", { out = 4, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
      x = x:conv2d("layer1.conv", { out = 4, kernel = 3, stride = 2, padding = 1 })
      return x:global_avg_pool():linear("fc", { out = 2 })
    end }
end

local makers = {}
hostile.makers = makers

function makers.handle() return core_network(true) end
function makers.unfinished() return core_network(false) end
function makers.net() return public_network() end
function makers.x() return T.rand(2, 3, 8, 8) end
function makers.y() return T.tensor { { 1, 0 }, { 0, 1 } } end
function makers.t() return T.rand(3, 4) end
function makers.image() return T.rand(3, 6, 7) end
function makers.snapshot() return core.snapshot(core_network(true)) end
function makers.optimizer() return core.optimizer { kind = "sgd", lr = 0.1, momentum = 0.9 } end
function makers.path() return "photos/ants/1.png" end

function makers.trainer()
  return core.trainer(core_network(true), { optimizer = { kind = "sgd", lr = 0.01 }, batch_size = 2 })
end

function makers.tr() return graft.trainer(public_network(), {}) end

function makers.model()
  if not core.stat "model.safetensors" then
    core.save_model(core_network(true), "model.safetensors", {})
  end
  return "model.safetensors"
end

function makers.checkpoint()
  if not core.stat "checkpoint.safetensors" then
    local trainer = makers.trainer()
    trainer:step(makers.x(), makers.y())
    trainer:save("checkpoint.safetensors", { epoch = 1 })
  end
  return "checkpoint.safetensors"
end

function makers.npy()
  if not core.stat "x.npy" then
    T.rand(2, 3):save "x.npy"
  end
  return "x.npy"
end

function makers.features()
  local features = core.features(core_network(true):freeze { "conv1", "bn1" }, { makers.dataset():set "train" })
  return features
end

-- A network with a layer written in Lua, whose function is `forward`.
function hostile.with_layer(forward)
  graft.nn.layer { kind = "hostile", pure = true, forward = forward, backward = function(gy)
    hostile.meddle()
    return gy
  end, shape = function(shape)
    hostile.meddle()
    return shape
  end }
  local net = core.network("own", { 3, 8, 8 })
  net:add("custom", "own", { kind = "hostile" }, { "input" })
  net:add("conv2d", "conv1", { out = 2, kernel = 3 }, { "own" })
  net:add("global_avg_pool", "pool", nil, { "conv1" })
  net:add("linear", "fc", { out = 2 }, { "pool" })
  net:finish { output = "fc", head = "fc" }
  return net:set_classes { "ants", "bees" }
end

function makers.own()
  return hostile.with_layer(function(x)
    hostile.meddle()
    return x
  end)
end

function makers.weights() return core.weights(makers.model()) end

local kept = {}

function makers.dataset()
  folder = folder or make_photos()
  if not (kept.dataset and pcall(kept.dataset.name, kept.dataset)) then
    kept.dataset = core.data_folder(folder, { val = 0.5 })
  end
  return kept.dataset
end

function makers.set() return makers.dataset():set "train" end

function makers.batch()
  local step = makers.set():batches { batch_size = 2, net = core_network(true) }
  local _, _, b = step()
  return b
end

function makers.ended_batch()
  local step, _, _, closing = makers.set():batches { batch_size = 2, net = core_network(true) }
  local _, _, b = step()
  closing:close()
  return b
end

function makers.d()
  folder = folder or make_photos()
  kept.d = kept.d or graft.data.folder(folder, { val = 0.5 })
  return kept.d
end

function makers.public_set() return makers.d().train end

function makers.b()
  local step = makers.d().train:batches { batch_size = 2, net = public_network() }
  return (select(3, step()))
end

function makers.run()
  kept.run = kept.run or graft.fit(public_network(), makers.d(), { epochs = 1, batch_size = 4 })
  return kept.run
end

function makers.result() return graft.evaluate(public_network(), makers.d().val) end

function makers.node()
  local found
  graft.nn.network { input = { 3, 8, 8 }, classes = { "a", "b" }, build = function(x)
    found = x
    return x:global_avg_pool():linear("fc", { out = 2 })
  end }
  return found
end

-- ---- what nobody expects ----

local function deep(levels)
  local t = {}
  for _ = 1, levels do
    t = { t }
  end
  return t
end

local raising = {}
for _, event in ipairs { "index", "newindex", "call", "len", "pairs", "tostring", "eq", "lt", "le", "concat", "add", "sub",
  "mul", "div", "unm", "close" } do
  raising["__" .. event] = raise
end

-- Tables that answer with texts that nothing else holds, so that the collector can take them at once.
local lying = {
  __index = function(_, key)
    local text = ("k"):rep(100) .. tostring(key)
    collectgarbage()
    return text .. "."
  end,
  __len = function() return 2 ^ 40 end,
  __pairs = function() return function(_, k) return (k or 0) < 300 and (k or 0) + 1 or nil, 1 end end,
  __tostring = function() return 1 end,
  __name = 7,
}

local function closed(object)
  object:close()
  return object
end

local function rank(n)
  local shape = {}
  for i = 1, n do
    shape[i] = i == 1 and 2 or 1
  end
  return shape
end

-- name, and how it is made.
hostile.values = {
  { "nil", function() return nil end },
  { "false", function() return false end },
  { "true", function() return true end },
  { "nan", function() return 0 / 0 end },
  { "inf", function() return math.huge end },
  { "-inf", function() return -math.huge end },
  { "-1", function() return -1 end },
  { "0", function() return 0 end },
  { "1", function() return 1 end },
  { "2", function() return 2 end },
  { "0.5", function() return 0.5 end },
  { "1e308", function() return 1e308 end },
  { "2^31", function() return 2 ^ 31 end },
  { "1<<32", function() return 1 << 32 end },
  { "2^53", function() return 2 ^ 53 end },
  { "mininteger", function() return math.mininteger end },
  { "maxinteger", function() return math.maxinteger end },
  { "''", function() return "" end },
  { "'1'", function() return "1" end },
  { "long", function() return ("a%*["):rep(20000) end },
  { "nul", function() return "a\0b" end },
  { "bytes", function() return "\xff\xfe%s%n\x1b[2J\n" end },
  { "..", function() return "../.." end },
  { "*", function() return "*" end },
  { "{}", function() return {} end },
  { "{1,2,3}", function() return { 1, 2, 3 } end },
  { "{1e9,1e9}", function() return { 1 << 40, 0 } end },
  { "{'a','b'}", function() return { "ants", "bees" } end },
  { "{{}}", function() return { {} } end },
  { "{0/0}", function() return { 0 / 0 } end },
  { "mixed", function() return { 1, "a", x = 2, [0.5] = 3, [true] = 4 } end },
  { "many", function() return rank(40) end },
  { "deep", function() return deep(5000) end },
  { "cyclic", function()
    local t = {}
    t[1], t.x = t, t
    return t
  end },
  { "raising", function() return setmetatable({}, raising) end },
  { "lying", function() return setmetatable({}, lying) end },
  { "error", function() return raise end },
  { "nothing", function() return function() end end },
  { "many results", function() return function() return 1, "x", {}, T.zeros(2) end end },
  { "collect", function() return function(...)
    collectgarbage()
    return ...
  end end },
  { "meddler", function() return function(x)
    hostile.meddle()
    return x, x
  end end },
  { "meddling loss", function() return function(logits)
    hostile.meddle()
    return 1, logits
  end end },
  { "own", makers.own },
  { "features", makers.features },
  { "yield", function() return coroutine.yield end },
  { "thread", function() return coroutine.create(raise) end },
  { "file", function() return io.tmpfile() end },
  { "null", function() return core.null end },
  { "[0]", function() return T.zeros(0) end },
  { "[3,0,2]", function() return T.zeros(3, 0, 2) end },
  { "scalar", function() return T.tensor(3) end },
  { "rank 8", function() return T.zeros(rank(8)) end },
  { "nan tensor", function() return T.full({ 2, 2 }, 0 / 0) end },
  { "view", function() return T.rand(4, 3):t() end },
  { "expanded", function() return T.rand(1, 1):expand(2, 3) end },
  { "photos", function() return T.rand(2, 3, 8, 8) end },
  { "closed tensor", function() return closed(T.zeros(2)) end },
  { "closed net", function() return closed(core_network(true)) end },
  { "closed public net", function() return closed(public_network()) end },
  { "closed trainer", function() return closed(makers.trainer()) end },
  { "closed weights", function() return closed(makers.weights()) end },
  { "closed snapshot", function() return closed(makers.snapshot()) end },
  { "closed optimizer", function() return closed(makers.optimizer()) end },
  { "unfinished", makers.unfinished },
  { "handle", makers.handle },
  { "net", makers.net },
  { "trainer", makers.trainer },
  { "dataset", makers.dataset },
  { "set", makers.set },
  { "data", makers.d },
  { "batch", makers.batch },
  { "ended batch", makers.ended_batch },
  { "node", makers.node },
  { "loss", function() return graft.nn.mse {} end },
  { "sgd", function() return graft.sgd { lr = 1 } end },
}

return hostile
