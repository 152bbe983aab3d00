-- Tensors as Lua sees them (API C6).
require "graft" -- opens graft.core
local core = require "graft.core"
local T = core.tensor
local tensor = T.tensor

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if #a ~= #b then return false end
  for i = 1, #a do
    if not same(a[i], b[i]) then return false end
  end
  return true
end

-- A tensor's elements are this nested list (compared through float32).
local function holds(x, list)
  return x == tensor(list)
end

local function near(a, b)
  return math.abs(a - b) <= 1e-5 * math.max(1, math.abs(b))
end

-- f raises a graft error of this kind whose message holds `words`.
local function raises(kind, words, f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "nothing was raised; expected " .. words)
  assert(type(e) == "table", tostring(e))
  assert(e.kind == kind, tostring(e.kind) .. ": " .. tostring(e))
  assert(e.message:find(words, 1, true), e.message)
  return e
end

local function temporary()
  local path = os.tmpname()
  os.remove(path)
  return path .. ".npy"
end

describe("making tensors", function()
  it("takes numbers, nested lists and tensors", function()
    local x = tensor{ { 1, 2, 3 }, { 4, 5, 6 } }
    assert(same(x.shape, { 2, 3 }) and x.rank == 2 and x.dtype == "float32" and #x == 2)
    assert(same(x:table(), { { 1, 2, 3 }, { 4, 5, 6 } }))
    assert(tensor(7):item() == 7 and tensor(7).rank == 0)
    assert(same(tensor{}.shape, { 0 }))
    local y = tensor(x)
    y[1] = 0
    assert(x[1][1] == 1)
  end)

  it("refuses ragged lists and what is no number", function()
    raises("shape", "list [2] has 1 elements", tensor, { { 1, 2 }, { 3 } })
    raises("option", "element [2][1] is a string", tensor, { { 1 }, { "x" } })
    raises("shape", "element [2] is 2, but the first of its kind is a list", tensor, { { 1 }, 2 })
    raises("option", "not of nothing", tensor)
    local circle = {}
    circle[1] = circle
    raises("shape", "nested more than 8", tensor, circle)
  end)

  it("fills by rule", function()
    assert(T.zeros(2, 3) == T.zeros{ 2, 3 })
    assert(holds(T.ones(2), { 1, 1 }) and holds(T.full({ 2 }, 7), { 7, 7 }) and holds(T.full(2, 7), { 7, 7 }))
    assert(holds(T.eye(2, 3), { { 1, 0, 0 }, { 0, 1, 0 } }))
    assert(holds(T.range(1, 4), { 1, 2, 3, 4 }) and holds(T.range(4, 1, -1.5), { 4, 2.5, 1 }))
    assert(#T.range(0, 1, 0.1) == 11 and #T.range(2, 1) == 0)
    assert(holds(T.arange(3), { 0, 1, 2 }) and holds(T.arange(1, 2, 0.25), { 1, 1.25, 1.5, 1.75 }))
    assert(holds(T.linspace(0, 1, 3), { 0, 0.5, 1 }))
    raises("option", "the step must not be 0", T.range, 1, 2, 0)
    raises("option", "size 2 must be a whole number", T.zeros, 2, 1.5)
    raises("option", "sizes are missing", T.zeros)
    raises("shape", "must be 0 or more", T.zeros, -1)
    raises("shape", "at most 8", T.zeros, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    raises("limit", "does not fit", T.zeros, 1 << 40, 1 << 40)
    raises("limit", "too long", T.range, 1, 1e30)
  end)

  it("draws what the seed says", function()
    local before = core.seed()
    core.seed(5)
    local a, b = T.randn(3, 3), T.rand(100)
    core.seed(5)
    assert(a == T.randn(3, 3) and a ~= T.randn(3, 3))
    assert(b:min() >= 0 and b:max() < 1)
    core.seed(before)
  end)

  it("joins", function()
    local a, b = tensor{ { 1, 2 } }, tensor{ { 3, 4 } }
    assert(holds(T.concat{ a, b }, { { 1, 2 }, { 3, 4 } }) and T.cat{ a, b } == T.concat{ a, b })
    assert(holds(T.concat({ a, b }, 2), { { 1, 2, 3, 4 } }) and T.concat({ a, b }, -1) == T.concat({ a, b }, 2))
    assert(same(T.stack{ a, b }.shape, { 2, 1, 2 }) and same(T.stack({ a, b }, 3).shape, { 1, 2, 2 }))
    raises("shape", "tensor 2 of the list", T.concat, { a, T.zeros(3) })
    raises("option", "the list of tensors is empty", T.concat, {})
    raises("option", "element 2 of the list is 2", T.stack, { a, 2 })
  end)
end)

describe("indexing", function()
  local x = tensor{ { 1, 2, 3 }, { 4, 5, 6 } }

  it("counts from 1, and from -1 at the end", function()
    assert(x[1][2] == 2 and x[-1][-1] == 6 and x:at(2, 1) == 4 and x:at(-1, -3) == 4)
    assert(holds(x[2], { 4, 5, 6 }) and holds(x:at(2), { 4, 5, 6 }))
    local e = raises("shape", "tensor: indices start at 1: x[1] is the first of 2 along the first dimension",
      function() return x[0] end)
    assert(e.where and e.where:find "tensor_spec%.lua:%d+$", tostring(e.where))
    assert(tostring(e) == e.where .. ": " .. e.message)
    assert(x[3] == nil)
    raises("shape", "no index 4", function() return x[4] end)
    raises("shape", "no index -3", function() return x[-3] end)
    raises("shape", "no index 4 along the second", x.at, x, 1, 4)
    raises("option", "whole number", function() return x[1.5] end)
  end)

  it("lets ipairs end", function()
    local n = 0
    for i, row in ipairs(x) do
      n = n + 1
      assert(row[1] == 3 * i - 2)
    end
    assert(n == 2)
  end)

  it("gives views", function()
    local y = x:clone()
    y[1][2] = 20
    y:slice(2, 3, 3):fill(9)
    assert(holds(y, { { 1, 20, 9 }, { 4, 5, 9 } }))
    y[2] = { 7, 8, 9 }
    y[1] = y[2]
    y[-1] = 0
    assert(holds(y, { { 7, 8, 9 }, { 0, 0, 0 } }))
    y[2] = tensor(3)
    assert(holds(y[2], { 3, 3, 3 }))
    raises("shape", "does not fit into", function() y[1] = { 1, 2 } end)
    raises("option", "takes a number, a tensor or a list", function() y[1] = "x" end)
    raises("shape", "no index 3", function() y[3] = 1 end)
    raises("name", "whole number", function() y.name = 1 end)
  end)

  it("keeps the parent of a view alive", function()
    local rows = {}
    for i = 1, 20 do rows[i] = T.full({ 4, 1000 }, i)[2] end
    collectgarbage()
    collectgarbage()
    for i = 1, 20 do assert(rows[i]:sum() == 1000 * i) end
  end)

  it("slices inclusively", function()
    local y = T.range(1, 5)
    assert(holds(y:slice(1, 2, 4), { 2, 3, 4 }) and holds(y:slice(1, -2), { 4, 5 }))
    assert(holds(y:slice(1, nil, 2), { 1, 2 }))
    assert(#y:slice(1, 1, 0) == 0 and #y:slice(1, 6, 5) == 0)
    assert(holds(x:slice(-1, 2, 3), { { 2, 3 }, { 5, 6 } }))
    raises("shape", "no index 6", y.slice, y, 1, 2, 6)
    raises("shape", "indices start at 1", y.slice, y, 1, 0, 2)
    raises("shape", "comes before the first", y.slice, y, 1, 4, 2)
    raises("shape", "no dimension 2", y.slice, y, 2, 1, 1)
    raises("shape", "dimensions start at 1", y.slice, y, 0, 1, 1)
    raises("option", "argument 1, the dimension, must be a whole number, not nothing", y.slice, y)
  end)

  it("turns and reshapes", function()
    assert(holds(x:t(), { { 1, 4 }, { 2, 5 }, { 3, 6 } }) and x:transpose(1, -1) == x:t() and x:permute(2, 1) == x:t())
    assert(x:permute{ 2, 1 } == x:t())
    assert(holds(x:reshape(3, -1), { { 1, 2 }, { 3, 4 }, { 5, 6 } }) and x:view{ 3, 2 } == x:reshape(3, 2))
    assert(holds(x:t():reshape(6), { 1, 4, 2, 5, 3, 6 }) and x:t():flatten() == x:t():reshape(-1))
    assert(same(x:unsqueeze(1).shape, { 1, 2, 3 }) and same(x:unsqueeze(-1).shape, { 2, 3, 1 }))
    assert(x:unsqueeze(2):squeeze(2) == x and x:t():contiguous() == x:t())
    assert(holds(tensor{ 1, 2 }:expand(2, 2), { { 1, 2 }, { 1, 2 } }))
    raises("shape", "a matrix is transposed so", tensor(1).t, tensor(1))
    raises("shape", "reshape copies", function() return x:t():view(6) end)
    raises("shape", "do not fit", x.reshape, x, 4, 2)
    raises("shape", "named twice", x.permute, x, 1, 1)
    raises("shape", "share memory", function() tensor{ 1 }:expand(3):fill(1) end)
  end)
end)

describe("arithmetic", function()
  local x = tensor{ { 1, 2 }, { 3, 4 } }

  it("broadcasts, and takes numbers on either side", function()
    assert(holds(x + 1, { { 2, 3 }, { 4, 5 } }) and holds(1 - x, { { 0, -1 }, { -2, -3 } }))
    assert(holds(x * tensor{ 10, 100 }, { { 10, 200 }, { 30, 400 } }))
    assert(holds(x / tensor{ { 1 }, { 2 } }, { { 1, 2 }, { 1.5, 2 } }))
    assert(holds(-x, { { -1, -2 }, { -3, -4 } }) and holds(x ^ 2, x:square():table()) and holds(2 ^ tensor{ 3 }, { 8 }))
    assert(x:add(1) == x + 1 and x:sub(x) == T.zeros(2, 2) and x:mul(2) == x + x and x:div(x) == T.ones(2, 2))
    assert(holds(x:maximum(2.5), { { 2.5, 2.5 }, { 3, 4 } }) and holds(x:minimum(2), { { 1, 2 }, { 2, 2 } }))
    raises("shape", "tensor:add: shapes [2,2] and [3] do not fit", function() return x + tensor{ 1, 2, 3 } end)
    raises("option", "must be a tensor or a number", function() return x + "1" end)
  end)

  it("compares whole tensors with == and elements by methods", function()
    assert(x == x:clone() and x ~= x + 1 and x ~= x:reshape(4))
    assert(rawequal(x == 0, false))
    assert(holds(x:gt(2), { { 0, 0 }, { 1, 1 } }) and holds(x:ge(2), { { 0, 1 }, { 1, 1 } }))
    assert(holds(x:lt(2), { { 1, 0 }, { 0, 0 } }) and holds(x:le(2), { { 1, 1 }, { 0, 0 } }))
    assert(holds(x:eq(2), { { 0, 1 }, { 0, 0 } }) and holds(x:ne(2), { { 1, 0 }, { 1, 1 } }))
    raises("option", "x:gt(y)", function() return x > 0 end)
    raises("option", "x:gt(y)", function() return x <= x end)
    raises("option", "x:gt(y)", function() return 1 < x end)
  end)

  it("has the usual functions", function()
    local y = tensor{ -1.5, 0, 2.5 }
    assert(holds(y:abs(), { 1.5, 0, 2.5 }) and holds(y:relu(), { 0, 0, 2.5 }) and holds(y:sign(), { -1, 0, 1 }))
    assert(holds(y:round(), { -2, 0, 2 }) and holds(y:floor(), { -2, 0, 2 }) and holds(y:ceil(), { -1, 0, 3 }))
    assert(holds(y:clamp(-1, 1), { -1, 0, 1 }) and holds(y:clamp(nil, 1), { -1.5, 0, 1 }))
    assert(holds(y:gt(0):where(y, 9), { 9, 9, 2.5 }))
    assert(near(y:exp()[1], math.exp(-1.5)) and near(y:sigmoid()[3], 1 / (1 + math.exp(-2.5))))
    assert(near(y:exp():log()[3], 2.5) and near(y:tanh()[1], -0.9051483) and near(tensor{ 2 }:sqrt()[1], 2 ^ 0.5))
    raises("option", "lower bound", y.clamp, y, 1, 0)
  end)

  it("works in place and returns the tensor", function()
    local y = tensor{ 1, 2 }
    assert(rawequal(y:add_(1):mul_(tensor{ 2, 3 }):sub_(1):div_(2), y))
    assert(holds(y, { 1.5, 4 }))
    y:copy_(tensor{ 4, 9 }):sqrt_():neg_()
    assert(holds(y, { -2, -3 }) and rawequal(y:fill_(7), y) and holds(y, { 7, 7 }))
    local m = x:clone()
    m:add_(m:t())
    assert(holds(m, { { 2, 5 }, { 5, 8 } }))
    raises("shape", "does not fit into", y.add_, y, x)
  end)

  it("multiplies matrices", function()
    assert(holds(x:matmul(x), { { 7, 10 }, { 15, 22 } }) and holds(x:matmul(x:t()), { { 5, 11 }, { 11, 25 } }))
    assert(holds(x:matmul(tensor{ 1, 1 }), { 3, 7 }) and tensor{ 1, 2 }:matmul(tensor{ 3, 4 }):item() == 11)
    assert(same(T.zeros(5, 2, 3):matmul(T.zeros(3, 4)).shape, { 5, 2, 4 }))
    raises("shape", "2 columns against 3 rows", x.matmul, x, T.zeros(3, 2))
  end)
end)

describe("reductions", function()
  local x = tensor{ { 1, 5, 3 }, { 9, 2, 9 } }

  it("give a number without a dimension, else a tensor", function()
    assert(x:sum() == 29 and near(x:mean(), 29 / 6) and x:prod() == 2430 and x:max() == 9 and x:min() == 1)
    assert(near(tensor{ 1, 2, 3, 4 }:var(), 5 / 3) and near(tensor{ 1, 2, 3, 4 }:std(), (5 / 3) ^ 0.5))
    assert(holds(x:sum(1), { 10, 7, 12 }) and holds(x:sum(2), { 9, 20 }) and holds(x:sum(-1, true), { { 9 }, { 20 } }))
    assert(holds(x:max(1), { 9, 5, 9 }) and holds(x:mean(2), { 3, 20 / 3 }))
    raises("shape", "nothing to take the max of", function() return T.zeros(0):max() end)
    raises("shape", "no dimension 3", x.sum, x, 3)
    raises("option", "true or false", x.sum, x, 1, 1)
  end)

  it("give places as lists, the first of equals", function()
    assert(same(x:argmax(2), { 2, 1 }) and same(x:argmin(1), { 1, 2, 1 }) and x:argmax() == 4)
    assert(math.type(x:argmax()) == "integer" and math.type(x:argmax(2)[1]) == "integer")
    assert(same(x:argsort(), { { 1, 3, 2 }, { 2, 1, 3 } }) and same(x:argsort(2, true), { { 2, 3, 1 }, { 1, 3, 2 } }))
    local places, values = x:topk(2, 2)
    assert(same(places, { { 2, 3 }, { 1, 3 } }) and holds(values, { { 5, 3 }, { 9, 9 } }))
    assert(same((x:topk(1, 2, false)), { { 1 }, { 2 } }))
    raises("option", "k is 4", x.topk, x, 4, 2)
  end)

  it("have softmax", function()
    local p = x:softmax(2)
    assert(near(p:sum(), 2) and near(p[1][2], math.exp(5) / (math.exp(1) + math.exp(5) + math.exp(3))))
    assert(near(x:log_softmax(2):exp()[2][2], p[2][2]) and near(x:softmax(1):sum(1)[3], 1))
  end)

  it("make the loss of API e", function()
    local logits, y = tensor{ { 1, 2 }, { 3, 1 } }, T.eye(2)
    local p = logits:softmax(2)
    local g = p - y
    local loss, grad = (g * g):sum() / #y, p * (g - (p * g):sum(2, true)) * (2 / #y)
    local h = 1e-2
    local moved = logits:clone()
    moved[1][1] = moved[1][1] + h
    local other = moved:softmax(2) - y
    assert(math.abs(((other * other):sum() / #y - loss) / h - grad[1][1]) < 5e-3)
  end)
end)

describe("tensors", function()
  it("print as a person wants them", function()
    assert(tostring(tensor{ { 1, -2 }, { 0.5, 4 } }) ==
      "tensor [2,2]\n[[ 1.0000  -2.0000]\n [ 0.5000   4.0000]]")
    assert(tostring(T.full({ 3, 480, 640 }, 0.5)) == "tensor [3,480,640]  min 0.50  mean 0.50  max 0.50")
    assert(tostring(tensor(3)) == "tensor []  3" and tostring(T.zeros(0)) == "tensor [0]  empty")
    assert(tostring(T.arange(100)):find("0   1   2  ...  97  98  99", 1, true))
  end)

  it("go to .npy files and back", function()
    local path = temporary()
    local x = T.randn(3, 4):t()
    x:save(path)
    assert(tensor.load(path) == x)
    raises("file", "cannot be written", x.save, x, "/nowhere/x.npy")
    local file <close> = assert(io.open(path, "wb"))
    file:write "no array"
    file:flush()
    raises("file", "not a .npy file", tensor.load, path)
    os.remove(path)
    raises("file", path, tensor.load, path)
    raises("option", "must be a string", tensor.load, 3)
  end)

  it("name the nearest method", function()
    local x = T.zeros(2)
    local e = raises("name", 'tensor has no "sofmax"; nearest: "softmax"', function() return x.sofmax end)
    assert(e.near == "softmax")
    raises("name", 'nearest: "shape"', function() return x.shpae end)
  end)

  it("raise once closed", function()
    local x = T.zeros(2)
    do
      local y <close> = x
      assert(#y == 2)
    end
    x:close()
    for _, f in ipairs{ function() return x[1] end, function() return #x end, function() return x + 1 end,
      function() return x.shape end, function() x[1] = 1 end, function() return x:sum() end,
      function() return T.concat{ x } end, function() return x == T.zeros(2) end } do
      raises("option", "closed", f)
    end
    assert(tostring(x) == "tensor (closed)")
  end)

  it("keep their metatable to themselves", function()
    assert(getmetatable(T.zeros(1)) == false)
    raises("option", "what stands before the colon must be a tensor", T.zeros(1).sum, io.stdout)
    raises("option", "what stands before the colon must be a tensor", T.zeros(1).sum)
  end)

  it("are collected in time", function()
    collectgarbage()
    collectgarbage()
    core.reset_peak()
    local start = core.memory().live
    local x = T.zeros(256, 1024) -- 1 MiB
    for _ = 1, 1000 do x = x + 1 end
    assert(x[1][1] == 1000)
    local peak = core.memory().peak - start
    assert(peak < 64 << 20, peak .. " bytes at the peak")
  end)
end)

describe("errors and values", function()
  it("are raised from Lua as from C", function()
    local e = raises("name", 'no layer "x"; nearest: "y"', core.error, "name", 'no layer "x"', "y")
    assert(e.near == "y" and core.is_error(e) and not core.is_error{} and not core.is_error "x")
    raises("option", 'no kind "bad"', core.error, "bad", "x")
  end)
end)
