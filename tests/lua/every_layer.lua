-- A network with every kind of layer that Graft has, each in the forms that other programs count differently: windows
-- that hang over the edge, padding of four sizes, averages that count padding or not, norms without values of their own.
-- For the tests of export, and for tests/fixtures/check_onnx.py.
local graft = require "graft"
local core = require "graft.core"

local every_layer = {}

-- Fresh statistics and biases say nothing: every number becomes one of its own.
function every_layer.lively(net, scratch)
  net:save(scratch, { aux = true })
  local list = {}
  do
    local was <close> = core.weights(scratch)
    for _, tensor in ipairs(was:tensors()) do
      local name, shape = tensor.name, tensor.shape
      if name:find "running_var$" then
        list[#list + 1] = { name, graft.rand(table.unpack(shape)) + 0.5 }
      elseif #shape == 1 then
        list[#list + 1] = { name, graft.randn(table.unpack(shape)) * 0.1 + (name:find "weight$" and 1 or 0) }
      elseif tensor.dtype == "F32" then
        list[#list + 1] = { name, was:get(name) }
      end
    end
  end
  core.save_weights(scratch, list)
  core.weights(scratch):apply(require("graft.network").handle(net, "lively"), {})
  os.remove(scratch)
  return net
end

local function convolutions(x)
  x = x:conv2d("stem", { out = 8, kernel = 3, stride = 2, padding = "same", bias = false }):batch_norm("stem_bn"):relu()
  x = x:conv2d("sides", { out = 8, kernel = { 3, 2 }, padding = { 2, 0, 1, 1 }, bias = true }):relu6()
  x = x:conv2d("apart", { out = 8, kernel = 3, dilation = 2, padding = 2, groups = 4 }):leaky_relu { slope = 0.2 }
  x = x:conv2d("deep", { out = 16, kernel = { 5, 3 }, padding = "same", groups = 8 })
  x = x:batch_norm("plain_bn", { affine = false, eps = 1e-3, momentum = 0.25 }):silu()
  return x:group_norm("groups", { groups = 4, eps = 1e-4 }):hardswish()
end

local function pools(x)
  return graft.nn.concat {
    x:max_pool("max_ceil", { kernel = 2, ceil = true }),
    x:max_pool("max_same", { kernel = 3, stride = 2, padding = "same" }):tanh(),
    x:avg_pool("avg_counts", { kernel = 3, stride = 2, padding = { 1, 0, 1, 0 }, ceil = true }),
    x:avg_pool("avg_counts_not", { kernel = 3, stride = 2, padding = 1, count_padding = false }),
    x:avg_pool("avg_over", { kernel = 2, stride = 2, ceil = true }):hardsigmoid(),
    x:avg_pool("avg_same", { kernel = 2, stride = 2, padding = "same" }),
  }
end

local function squeezed(x)
  local factors = x:global_avg_pool("squeeze", { keep = true }):conv2d("excite", { out = 96, kernel = 1 }):sigmoid()
  local flat = x:global_max_pool("peak"):group_norm("flat_groups", { groups = 3 }):dropout("drop", 0.5)
  return x * factors * flat
end

-- Inputs of 30 x 25 pixels: what the pools get is odd one way and even the other, so that every rounding shows.
function every_layer.network(scratch)
  local net = graft.nn.network { name = "every_layer", input = { 3, 30, 25 }, classes = { "a", "b", "c", "d" },
    head = "fc", stages = { "stem", "deep" },
    build = function(x)
      x = squeezed(pools(convolutions(x)))
      local kept = x:global_max_pool("peaks", { keep = true }) * x:global_avg_pool "mean"
      local even = x:adaptive_avg_pool("even", { size = { 1, 7 } }):flatten("row"):linear("shrink", { out = 12, bias = false })
      local uneven = x:adaptive_avg_pool("uneven", { size = { 3, 9 } }):softmax():flatten()
      local all = graft.nn.concat { kept:flatten(), even:batch_norm("flat_bn"), uneven }
      return (all:linear("left", { out = 12 }) + all:linear("right", { out = 12 })):relu():dropout("last", 0.2)
        :linear("fc", { out = 4 })
    end }
  net:add_aux("deep", { hidden = 6 })
  return every_layer.lively(net, scratch)
end

return every_layer
