-- The architectures of models/ against PyTorch's: tests/fixtures/make_models.py wrote what its networks compute, and
-- says how both sides come to the same weights.
require "graft" -- opens graft.core
local core = require "graft.core"
local models = require "graft.models"
local tensor = core.tensor

local LOGITS = 1e-5 -- relative error of inference
local NUMBERS = 1e-4 -- of a gradient's or statistic's two numbers, relative to its norm
local PERIOD = 9973

-- ---- the formula: `tensor`, `probe` and `parameter` of make_models.py ----

local function elements(shape)
  local count = 1
  for _, size in ipairs(shape) do
    count = count * size
  end
  return count
end

-- The values repeat every PERIOD elements: a tensor of whole periods, cut to length.
local function formula(name, shape, center, amplitude)
  local seed = 2166136261
  for i = 1, #name do
    seed = (seed ~ name:byte(i)) * 16777619 & 0xffffffff
  end
  local count = elements(shape)
  local period, values = math.min(PERIOD, count), {}
  for i = 1, period do
    seed = (seed * 1664525 + 1013904223) & 0xffffffff
    values[i] = center + amplitude * ((seed >> 8) / 2.0 ^ 23 - 1)
  end
  local row = tensor.tensor(values)
  if count == period then
    return row:reshape(shape)
  end
  local rows = (count + period - 1) // period
  return row:reshape { 1, period }:expand { rows, period }:contiguous():reshape(-1):slice(1, 1, count):reshape(shape)
end

local function probe(name, shape)
  return formula("probe " .. name, shape, 0, math.sqrt(3))
end

local function parameter(name, shape, bias)
  if name:find "running_var$" then
    return formula(name, shape, 1, 0.5)
  elseif #shape > 1 then
    return formula(name, shape, 0, math.sqrt(3 / (elements(shape) // shape[1])))
  elseif name:find "weight$" then
    return formula(name, shape, 0.75, 0.25)
  elseif name:find "bias$" then
    return formula(name, shape, bias[1], bias[2])
  end
  return formula(name, shape, 0, 0.1)
end

-- ---- comparing ----

local function norm(x)
  return math.sqrt((x * x):sum())
end

-- The larger of the errors of a tensor's two numbers, as shares of its norm. Some gradients are 0 in theory, such as
-- that of a convolution's bias before a batch norm, or nearly so: their norm counts as a thousandth of the largest one.
local function error_of(expected, x, largest)
  local off = math.max(math.abs(norm(x) - expected[2]), math.abs((x * probe(expected[1], x.shape)):sum() - expected[3]))
  return off / math.max(expected[2], 1e-3 * largest)
end

-- Compares every expected tensor with what `find(name)` gives; fails with the worst one.
local function compare(what, list, find)
  local worst, where, largest = 0, nil, 0
  for _, expected in ipairs(list) do
    largest = math.max(largest, expected[2])
  end
  for _, expected in ipairs(list) do
    local x = find(expected[1])
    assert.is_not_nil(x, what .. " of " .. expected[1])
    local off = error_of(expected, x, largest)
    if not (off <= worst) then
      worst, where = off, expected[1]
    end
  end
  assert(worst <= NUMBERS, ("%s: %s is off by %.2g of its norm, at most %.0e is fine"):format(what, where, worst, NUMBERS))
end

-- ---- one network ----

local function read(name)
  return core.parse_json(core.read("tests/fixtures/models/" .. name .. ".json"))
end

local function build(name, fixture)
  local net = models.build(models.spec(name), fixture.classes, fixture.input[3])
  for _, row in ipairs(net:tensors()) do
    if not row.name:find "num_batches_tracked$" then
      net:set(row.name, parameter(row.name, row.shape, fixture.bias))
    end
  end
  for _, row in ipairs(net:layers()) do
    if row.kind == "dropout" then -- a frozen one lets everything pass
      net:freeze { row.name }
    end
  end
  return net
end

-- The same tensors as PyTorch's network, neither more nor fewer.
local function check_names(net, fixture)
  local theirs = {}
  for _, list in ipairs { fixture.gradients, fixture.statistics } do
    for _, expected in ipairs(list) do
      theirs[expected[1]] = true
    end
  end
  for _, row in ipairs(net:tensors()) do
    if not row.name:find "num_batches_tracked$" then
      assert(theirs[row.name], "PyTorch has no tensor " .. row.name)
      theirs[row.name] = nil
    end
  end
  assert.is_nil((next(theirs)), "a tensor that Graft does not have")
end

-- Gradients of all parameters where auxiliary classifiers take part: what a step of SGD took off the weights. The rate
-- is so large that nothing of the weights themselves is left in the difference.
local function joint_gradients(net, x, gy)
  local rate, before = 1e6, {}
  for _, row in ipairs(net:tensors()) do
    before[row.name] = net:get(row.name)
  end
  local function loss(logits, y)
    return (logits * y):sum(), y
  end
  local trainer = core.trainer(net, { optimizer = { kind = "sgd", lr = rate }, loss = loss, batch_size = #x })
  trainer:step(x, gy)
  trainer:close()
  return function(name)
    return (before[name] - net:get(name)) / rate
  end
end

local function check(name)
  local fixture = read(name)
  local net = build(name, fixture)
  check_names(net, fixture)

  local x = formula(fixture.photos[1], fixture.input, 0, 1.7)
  local expected = tensor.tensor(fixture.logits)
  local off = norm(net:forward(x) - expected) / norm(expected)
  assert(off <= LOGITS, ("logits are off by %.2g, at most %.0e is fine"):format(off, LOGITS))

  local gy = probe("logits", { fixture.input[1], fixture.classes })
  if #net:aux() > 0 then
    compare("gradient", fixture.gradients, joint_gradients(net, x, gy))
  else
    local gradients = net:step_gradient(x, gy)
    compare("gradient", fixture.gradients, function(of)
      return gradients[of]
    end)
    compare("gradient", { fixture.photos }, function()
      return gradients.gx
    end)
  end
  compare("running statistics", fixture.statistics, function(of)
    return net:get(of)
  end)
  net:close()
end

describe("against PyTorch,", function()
  after_each(function()
    collectgarbage()
    collectgarbage()
  end)
  for _, name in ipairs { "resnet18", "resnet34", "resnet50", "vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "mobilenet_v2",
    "squeezenet1_1", "googlenet", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "tiny_darknet" } do
    it(name .. " has the same tensors, logits, gradients and statistics", function()
      check(name)
    end)
  end
end)
