-- The reference: tensors. What the fields of an entry mean says scripts/graft/reference.lua.

local strict = require "graft.strict"

local new = { { "graft.tensor", "a new one" } }
local view = { { "graft.tensor", "a view: it shares its numbers with x" } }
local itself = { { "graft.tensor", "x itself, changed" } }
local sizes = { "...", "integer|integer[]", "required", "sizes, as numbers or as one list; at most 8 dimensions" }
local dim = { "dim", "integer", "required", "a dimension, from 1; negative from the last" }
local bad_dim = { "shape", "there is no such dimension" }
local bad_size = { "shape", "a size is negative, or there are more than 8" }

local topic = { name = "tensors", title = "Tensors", text = [[
Tensors are arrays of float32 with up to 8 dimensions, row by row. Indices and dimensions count from 1, negative ones from the
end, and ranges include both ends, as in Lua. A reduction over everything is a Lua number.

x == y asks whether shape and values are the same. x == 0 is silently false, since Lua compares values of different types so;
x > 0 raises, since Lua would make one boolean of it. Element by element: x:eq(0), x:gt(0).]] }

topic.entries = {
   -- making
   {
      name = "graft.tensor",
      text = "A tensor of a number, of a nested list of numbers, or a copy of another tensor.",
      arguments = { { "values", "number|table|graft.tensor", "required", "lists of one depth must be of one length" } },
      returns = new,
      errors = { { "shape", "lists have different lengths", "graft.tensor{ { 1, 2 }, { 3 } }" },
         { "option", "an element is no number", 'graft.tensor{ 1, "two" }' } },
      example = "print(graft.tensor{ { 1, 2 }, { 3, 4 } }:sum())  --> 10.0",
      see = { "x:table", "graft.zeros" },
   },
   {
      name = "graft.tensor.load",
      text = "Reads a .npy file of NumPy, as float32 whatever it holds.",
      arguments = { { "path", "string", "required", "the file" } },
      returns = new,
      errors = { { "file", "it cannot be read, or is no .npy file", 'graft.tensor.load("none.npy")' },
         { "number", "an integer that float32 cannot hold" } },
      example = 'x:save("x.npy")\nprint(graft.tensor.load("x.npy") == x)  --> true',
      see = { "x:save" },
   },
   { name = "graft.zeros", text = "Zeros of a shape.", arguments = { sizes }, returns = new,
      errors = { { bad_size[1], bad_size[2], "graft.zeros(-1)" }, { "option", "no size is given", "graft.zeros()" } },
      example = "print(graft.zeros(2, 3) == graft.zeros{ 2, 3 })  --> true" },
   { name = "graft.ones", text = "Ones of a shape.", arguments = { sizes }, returns = new, errors = { bad_size },
      example = "print(graft.ones(2, 3):sum())  --> 6.0" },
   { name = "graft.full", text = "One value everywhere.", arguments = { { "sizes", "integer[]", "required", "the shape" },
      { "value", "number", "required", "of every element" } }, returns = new,
      errors = { { "option", "the value is missing", "graft.full({ 2 })" } }, example = "print(graft.full({ 2, 2 }, "
         .. "0.5):sum())  --> 2.0" },
   { name = "graft.eye", text = "Ones on the diagonal, zeros elsewhere.", arguments = { { "rows", "integer", "required",
      "how many" },
      { "columns", "integer", "", "how many; without: as many" } }, returns = new, errors = { bad_size },
      example = "print(graft.eye(3):sum())  --> 3.0" },
   { name = "graft.rand", text = "Uniform random numbers from 0 to below 1. They depend on graft.seed and on how many draws "
      .. "came before.", arguments = { sizes }, returns = new, errors = { bad_size },
      example = "print(graft.rand(1000):max() < 1)  --> true", see = { "graft.seed", "graft.randn" } },
   { name = "graft.randn", text = "Normal random numbers of mean 0 and deviation 1.", arguments = { sizes }, returns = new,
      errors = { bad_size }, example = "print(graft.randn(2, 3).shape[2])  --> 3", see = { "graft.seed", "graft.rand" } },
   { name = "graft.range", text = "first, first + step ... up to last, which is included, as in Lua's for.", arguments = {
      { "first", "number", "required", "the first value" }, { "last", "number", "required", "the last" },
      { "step", "number", "1", "not 0" } }, returns = new, errors = { { "option", "the step is 0", "graft.range(1, 3, 0)" } },
      example = "print(#graft.range(1, 5))  --> 5", see = { "graft.arange", "graft.linspace" } },
   { name = "graft.arange", text = "As NumPy's: graft.arange(n) is 0 to n - 1, and the end is left out.", arguments = {
      { "first", "number", "required", "the first value; alone: the end, from 0" },
      { "stop", "number", "", "where it ends" }, { "step", "number", "1", "not 0" } }, returns = new,
      errors = { { "option", "the step is 0", "graft.arange(1, 3, 0)" } }, example = "print(#graft.arange(5), "
         .. "graft.arange(5)[1])  --> 5  0.0",
      see = { "graft.range" } },
   { name = "graft.linspace", text = "Numbers at equal distances, both ends included.", arguments = {
      { "first", "number", "required", "the first" }, { "last", "number", "required", "the last" },
      { "count", "integer", "required", "how many" } }, returns = new,
      errors = { { "option", "an argument is missing", "graft.linspace(0, 1)" } },
      example = "print(graft.linspace(0, 1, 5)[2])  --> 0.25" },
   { name = "graft.concat", text = "Joins tensors along a dimension; their other sizes must be the same.", arguments = {
      { "tensors", "graft.tensor[]", "required", "at least one" }, { "dim", "integer", "1", "along which" } }, returns = new,
      errors = { { "shape", "other sizes differ", "graft.concat{ graft.zeros(2, 2), graft.zeros(2, 3) }" },
         { "option", "the list is empty", "graft.concat{}" } },
      example = "print(graft.concat({ graft.zeros(2, 3), graft.ones(1, 3) }).shape[1])  --> 3", see = { "graft.stack",
         "graft.nn.concat" } },
   { name = "graft.cat", text = "The same as graft.concat.", arguments = { { "tensors", "graft.tensor[]", "required",
      "at least one" },
      { "dim", "integer", "1", "along which" } }, returns = new, example = "print(graft.cat({ x, x }, 2).shape[2])  --> 6",
      see = { "graft.concat" } },
   { name = "graft.stack", text = "Joins tensors of one shape along a new dimension.", arguments = {
      { "tensors", "graft.tensor[]", "required", "at least one" }, { "dim", "integer", "1", "the new one" } }, returns = new,
      errors = { { "shape", "shapes differ", "graft.stack{ graft.zeros(2), graft.zeros(3) }" } },
      example = "print(graft.stack{ x, x }.rank)  --> 3", see = { "graft.concat" } },

   -- what it is
   { name = "x.shape", type = "integer[]", text = "Sizes of the dimensions.", example = "print(table.concat(x.shape, \",\"))  "
      .. "--> 2,3" },
   { name = "x.rank", type = "integer", text = "How many dimensions there are.", example = "print(x.rank)  --> 2" },
   { name = "x.dtype", type = '"float32"|"int64"', text = "What its elements are. Everything that Lua makes is float32.",
      example = "print(x.dtype)  --> float32" },
   { name = "#x", operator = { "len", "", "integer" }, text = "Size of the first dimension.", errors = { { "shape",
      "it has no dimension",
      "return #graft.tensor(1)" } }, example = "print(#x)  --> 2" },
   { name = "x[i]", operator = { "index", "[integer]", "graft.tensor|number" }, text = "Element i along the first dimension: "
      .. "a view, or a number when there is one dimension. x[i] = number, tensor or nested list assigns. Behind the last it "
      .. "is nil, so that ipairs works.", errors = { { "shape", "the index is 0 (indices start at 1) or further out",
      "return x[0]" } },
      example = "print(x[1][3], x[-1][1], x[3])  --> 3.0  4.0  nil\nx[1][3] = 30\nprint(x:max())  --> 30.0", see = { "x:at",
         "x:slice" } },
   { name = "x == y", operator = { "eq", "graft.tensor", "boolean" }, text = "Are shape and all values the same? x == 0 is "
      .. "silently false: Lua compares values of different types so and asks nobody. x:eq(0) compares elements.",
      example = "print(x == x:clone(), x == 0)  --> true  false", see = { "x:eq" } },
   { name = "x > y", operator = { "lt", "graft.tensor", "boolean" }, text = "Raises, as x < y, x >= y and x <= y do: Lua "
      .. "would make one boolean of the result. x:gt(y), x:lt(y), x:ge(y) and x:le(y) compare elements.",
      errors = { { "option", "always",
      "return x > 0" } }, see = { "x:gt" } },
   { name = "x + y", operator = { "add sub mul div pow", "graft.tensor|number", "graft.tensor" }, text = "Element by element, "
      .. "with broadcasting, as - * / ^ do; either side may be a number. -x is x:neg(). * is no product of matrices: "
      .. "x:matmul(y).",
      errors = { { "shape",
      "shapes do not fit", "return x + graft.zeros(5)" } }, example = "print((2 * x + 1):sum())  --> 48.0", see = { "x:add",
         "x:matmul" } },

   -- views
   { name = "x:slice", text = "A part of one dimension, both ends included.", arguments = { dim,
      { "first", "integer", "1", "negative from the end" }, { "last", "integer", "-1", "negative from the end" } },
         returns = view,
      errors = { { "shape", "an end does not exist, or the last comes before the first", "x:slice(1, 1, 3)" } },
      example = "print(x:slice(2, 2, 3):sum())  --> 16.0", see = { "x:select" } },
   { name = "x:select", text = "One element of a dimension, which disappears.", arguments = { dim, { "i", "integer", "required",
      "negative from the end" } }, returns = view, errors = { { "shape", "there is no such element or dimension",
         "x:select(3, 1)" } },
      example = "print(x:select(2, -1):sum())  --> 9.0", see = { "x:slice", "x[i]" } },
   { name = "x:at", text = "As x[i][j], in one call.", arguments = { { "...", "integer", "required",
      "an index for each dimension, or for the first ones" } }, returns = { { "number|graft.tensor",
         "a number when all dimensions are given, else a view" } },
      errors = { { "shape", "too many indices, or one that does not exist", "x:at(1, 2, 3)" } }, example = "print(x:at(2, 3)) "
         .. " --> 6.0" },
   { name = "x:t", text = "The transposed matrix.", arguments = {}, returns = view, errors = { { "shape",
      "it has not two dimensions",
      "graft.zeros(2):t()" } }, example = "print(x:t().shape[1])  --> 3", see = { "x:transpose" } },
   { name = "x:transpose", text = "Two dimensions swapped.", arguments = { { "a", "integer", "required", "a dimension" },
      { "b", "integer",
      "required", "the other" } }, returns = view, errors = { { bad_dim[1], bad_dim[2], "x:transpose(1, 3)" } },
      example = "print(x:transpose(1, 2).shape[1])  --> 3" },
   { name = "x:permute", text = "The dimensions in another order.", arguments = { { "...", "integer|integer[]", "required",
      "each dimension once" } }, returns = view, errors = { { "shape", "not every dimension is named once", "x:permute(1)" } },
      example = "print(x:permute(2, 1).shape[1])  --> 3" },
   { name = "x:reshape", text = "Another shape with as many elements: a view where that is possible, else a copy.", arguments = {
      { "...", "integer|integer[]", "required", "sizes; one may be -1" } }, returns = { { "graft.tensor", "a view or a copy" } },
      errors = { { "shape", "the number of elements differs", "x:reshape(4)" } }, example = "print(x:reshape(-1, 2).shape[1]) "
         .. " --> 3",
      see = { "x:view", "x:flatten" } },
   { name = "x:view", text = "As x:reshape, but never a copy.", arguments = { { "...", "integer|integer[]", "required",
      "sizes; one may be -1" } }, returns = view, errors = { { "shape", "it cannot be done without a copy", "x:t():view(6)" } },
      example = "print(x:view(3, 2).shape[1])  --> 3" },
   { name = "x:expand", text = "Dimensions of size 1 repeated, without a copy.", arguments = { sizes }, returns = view,
      errors = { { "shape",
      "another size than 1 would have to change", "x:expand(4, 3)" } }, example = "print(graft.ones(1, 3):expand(2, 3):sum()) "
         .. " --> 6.0" },
   { name = "x:flatten", text = "All elements in one dimension, in row-major order.", arguments = {},
      returns = { { "graft.tensor",
      "a view or a copy" } }, example = "print(#x:flatten())  --> 6", see = { "x:reshape" } },
   { name = "x:squeeze", text = "Without a dimension of size 1.", arguments = { dim }, returns = view, errors = { { "shape",
      "the dimension has another size", "x:squeeze(1)" } }, example = "print(graft.zeros(1, 3):squeeze(1).rank)  --> 1" },
   { name = "x:unsqueeze", text = "With a new dimension of size 1.", arguments = { dim }, returns = view, errors = { { bad_dim[1],
      bad_dim[2], "x:unsqueeze(5)" } }, example = "print(x:unsqueeze(1).rank)  --> 3" },

   -- copies, values
   { name = "x:clone", text = "A copy that shares nothing.", arguments = {}, returns = new, example = "print(x:clone() == x)  "
      .. "--> true" },
   { name = "x:contiguous", text = "Itself when its elements lie row by row, else a copy.", arguments = {},
      returns = { { "graft.tensor",
      "x or a copy" } }, example = "print(x:t():contiguous() == x:t())  --> true" },
   { name = "x:float", text = "Itself when it is float32, else a copy that is.", arguments = {}, returns = { { "graft.tensor",
      "x or a copy" } }, example = "print(x:float().dtype)  --> float32" },
   { name = "x:fill", text = "Sets every element to a value.", arguments = { { "value", "number", "required", "the value" } },
      returns = itself, example = "print(x:fill(1):sum())  --> 6.0", see = { "graft.full" } },
   { name = "x:fill_", text = "The same as x:fill.", arguments = { { "value", "number", "required", "the value" } },
      returns = itself,
      example = "print(x:fill_(1):sum())  --> 6.0" },
   { name = "x:copy_", text = "Takes over the values of another tensor, with broadcasting.", arguments = { { "other",
      "graft.tensor",
      "required", "of a shape that fits" } }, returns = itself, errors = { { "shape", "shapes do not fit",
         "x:copy_(graft.zeros(5))" } },
      example = "print(x:copy_(graft.ones(3)):sum())  --> 6.0" },
   { name = "x:table", text = "The numbers as nested Lua lists.", arguments = {}, returns = { { "table",
      "of a scalar its number" } },
      errors = { { "limit", "more than 134,217,728 entries" } }, example = "print(x:table()[2][1])  --> 4.0" },
   { name = "x:item", text = "The only element as a number.", arguments = {}, returns = { { "number", "it" } },
      errors = { { "shape",
      "there are more", "x:item()" } }, example = "print(graft.full({ 1, 1 }, 7):item())  --> 7.0" },
   { name = "x:save", text = "Writes a .npy file, which NumPy reads.", arguments = { { "path", "string", "required",
      "the file" } },
      returns = { { "graft.tensor", "x itself" } }, errors = { { "file", "it cannot be written", 'x:save("none/x.npy")' } },
      example = 'x:save("x.npy")', see = { "graft.tensor.load" } },
   { name = "x:close", text = "Releases the memory now instead of when the collector comes. Views keep what they show.",
      arguments = {}, errors = { { "option", "it is used afterwards", "x:close() x:sum()" } },
      example = "do\n  local big <close> = graft.zeros(1000, 1000)\nend" },

   -- products, probabilities, choices
   { name = "x:matmul", text = "The product of matrices [M,K] and [K,N], of batches of them with broadcasting, or with a vector.",
      arguments = { { "other", "graft.tensor", "required", "[K,N], [B,K,N] or [K]" } }, returns = new, errors = { { "shape",
      "the inner sizes differ", "x:matmul(x)" } }, example = "print(x:matmul(x:t()).shape[2])  --> 2" },
   { name = "x:softmax", text = "exp(x) over its sum along a dimension.", arguments = { { "dim", "integer", "-1",
      "a dimension" } },
      returns = new, errors = { { bad_dim[1], bad_dim[2], "x:softmax(3)" } },
      example = 'print(("%.3f"):format(x:softmax(2)[1]:sum()))  --> 1.000', see = { "x:log_softmax" } },
   { name = "x:log_softmax", text = "The logarithm of x:softmax, without its rounding.", arguments = { { "dim", "integer", "-1",
      "a dimension" } }, returns = new, errors = { bad_dim }, example = "print(x:log_softmax(2):max() < 0)  --> true" },
   { name = "x:clamp", text = "Cut off at both ends.", arguments = { { "low", "number", "", "nil: no bound" }, { "high",
      "number", "",
      "nil: no bound" } }, returns = new, example = "print(x:clamp(2, 5):min(), x:clamp(nil, 3):max())  --> 2.0  3.0" },
   { name = "x:where", text = "a where x is not 0, else b.", arguments = { { "a", "graft.tensor|number", "required",
      "with broadcasting" },
      { "b", "graft.tensor|number", "required", "with broadcasting" } }, returns = new, errors = { { "shape", "shapes do not fit",
      "x:where(graft.zeros(5), 0)" } }, example = "print(x:gt(3):where(1, 0):sum())  --> 3.0", see = { "x:gt" } },
   { name = "x:argmax", text = "Where the largest element is, counted from 1; the first of equals.", arguments = { { "dim",
      "integer", "",
      "without: over everything, in row-major order" }, { "keep", "boolean", "false", "the dimension stays, with size 1" } },
      returns = { { "integer|table", "a number, or nested lists of numbers" } }, errors = { bad_dim },
      example = "print(x:argmax(), x:argmax(2)[1])  --> 6  3", see = { "x:topk" } },
   { name = "x:argmin", text = "Where the smallest element is, counted from 1; the first of equals.", arguments = { { "dim",
      "integer", "",
      "without: over everything" }, { "keep", "boolean", "false", "the dimension stays, with size 1" } },
         returns = { { "integer|table",
      "a number, or nested lists of numbers" } }, errors = { bad_dim }, example = "print(x:argmin())  --> 1" },
   { name = "x:argsort", text = "Places in the order of the values, counted from 1.", arguments = { { "dim", "integer", "-1",
      "a dimension" }, { "descending", "boolean", "false", "the largest first" } }, returns = { { "table",
         "nested lists of numbers" } },
      errors = { bad_dim }, example = "print(x:argsort(2, true)[1][1])  --> 3" },
   { name = "x:topk", text = "The k largest along a dimension: places first, then values (PyTorch has them the other way "
      .. "round), so that `local places = x:topk(5, 2)` is what one wants.", arguments = { { "k", "integer", "required",
      "how many" },
         { "dim",
      "integer", "-1", "a dimension" }, { "largest", "boolean", "true", "false: the smallest" } }, returns = { { "table",
      "nested lists of places, counted from 1" }, { "graft.tensor", "the values" } }, errors = { { "option",
      "k is more than there are", "x:topk(4, 2)" } },
      example = "local places, values = x:topk(2, 2)\nprint(places[1][1], values[1][1])  --> 3  3.0", see = { "x:argmax" } },
}

-- --- families ---

-- As pairs, in the order of the keys.
local function sorted(t)
   local keys, i = strict.keys(t), 0
   return function()
      i = i + 1
      return keys[i], t[keys[i]]
   end
end

for name, about in sorted {
   sum = { "The sum", "21.0" }, mean = { "The mean", "3.5" }, prod = { "The product", "720.0" }, max = { "The largest", "6.0" },
   min = { "The smallest", "1.0" }, var = { "The variance, divided by n - 1", "3.5" },
   std = { "The standard deviation, divided by n - 1" },
} do
   table.insert(topic.entries, { name = "x:" .. name, text = about[1] .. ": of everything as a Lua number, or along a dimension.",
      arguments = { { "dim", "integer", "", "without: over everything" }, { "keep", "boolean", "false",
         "the dimension stays, with size 1" } },
      returns = { { "number|graft.tensor", "a number, or a tensor without that dimension" } },
      errors = { { bad_dim[1], bad_dim[2], ("x:%s(3)"):format(name) } },
      example = (about[2] and ("print(x:%s())  --> %s\n"):format(name, about[2]) or 'print(("%.3f"):format(x:std()))  --> '
         .. '1.871\n')
         .. ("print(#x:%s(1), x:%s(2, true).rank)  --> 3  2"):format(name, name) })
end

-- The entry of NAME_, which works in place.
local function in_place(entry, name)
   return { name = "x:" .. name .. "_", text = ("As x:%s, in place."):format(name), arguments = entry.arguments, returns = itself,
      errors = entry.errors and { { "shape", "y does not fit into x", ("x:%s_(graft.zeros(5))"):format(name) } },
      example = entry.example:gsub(":" .. name .. "%(", ":" .. name .. "_("), see = { "x:" .. name } }
end

local function add_family(entry, name)
   table.insert(topic.entries, entry)
   table.insert(topic.entries, in_place(entry, name))
end

for name, about in sorted {
   exp = { "e to the power of each element", 0, "1.0" }, log = { "natural logarithm", 1, "0.0" }, sqrt = { "square root", 9,
      "3.0" },
   abs = { "absolute value", -2, "2.0" }, neg = { "each element with the other sign", 2, "-2.0" }, sign = { "-1, 0 or 1", -3,
      "-1.0" },
   square = { "square", 3, "9.0" }, tanh = { "hyperbolic tangent", 0, "0.0" }, sigmoid = { "1 / (1 + exp(-x))", 0, "0.5" },
   relu = { "max(x, 0)", -1, "0.0" }, round = { "nearest whole number, halves to the even one", 2.5, "2.0" },
   floor = { "next whole number below", -1.5, "-2.0" }, ceil = { "next whole number above", 1.2, "2.0" },
   sin = { "sine, in radians", 0, "0.0" }, cos = { "cosine, in radians", 0, "1.0" },
} do
   add_family({ name = "x:" .. name, text = ("Element by element: %s."):format(about[1]), arguments = {}, returns = new,
      example = ("print(graft.tensor{ %g }:%s()[1])  --> %s"):format(about[2], name, about[3]) }, name)
end

for name, about in sorted {
   add = { "x + y", 1, "3.0" }, sub = { "x - y", 1, "-1.0" }, mul = { "x * y, no product of matrices", 1, "2.0" },
   div = { "x / y", 1, "0.5" }, pow = { "x ^ y", 3, "9.0" }, maximum = { "the larger of both", 1, "2.0" },
   minimum = { "the smaller of both", 3, "2.0" }, eq = { "1 where x equals y, else 0", 2, "1.0" },
   ne = { "1 where they differ, else 0", 2, "0.0" }, lt = { "1 where x is below y, else 0", 1, "1.0" },
   le = { "1 where x is at most y, else 0", 2, "1.0" }, gt = { "1 where x is above y, else 0", 3, "1.0" },
   ge = { "1 where x is at least y, else 0", 2, "1.0" },
} do
   add_family({ name = "x:" .. name, text = ("Element by element, with broadcasting: %s."):format(about[1]),
      arguments = { { "y", "graft.tensor|number", "required", "of a shape that fits" } }, returns = new,
      errors = { { "shape", "shapes do not fit", ("x:%s(graft.zeros(5))"):format(name) } },
      example = ("print(x:%s(2)[1][%d])  --> %s"):format(name, about[2], about[3]), see = { "x + y" } }, name)
end

return topic
