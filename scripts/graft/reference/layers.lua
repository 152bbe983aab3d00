-- The reference: layers and networks of one's own. Options of layers, their types and defaults come from the layers
-- themselves. What the fields of an entry mean says scripts/graft/reference.lua.

local core = require "graft.core"

local topic = { name = "layers", title = "Layers and networks of one's own", text = [[
graft.nn.network calls build with a symbolic node that stands for the input. Each layer is a method of a node and gives the next
node; a + b adds, a * b multiplies, graft.nn.concat joins. What is recorded is data, so the network can be saved.

Layers with parameters take a name first, which their tensors carry into files; for others it may be given. Sizes are {C,H,W},
or {C} when flat. Windows take one number for both sides, or {height, width}; padding takes "same" as well.]] }

topic.entries = {
   {
      name = "graft.nn.network",
      text = "A network of one's own, with random weights.",
      options = {
         { "build", "fun(x: graft.node, outputs?: integer): graft.node", "required", "records the layers and returns the node "
            .. "of the logits" },
         { "input", "integer[]", "required", "{C,H,W}; photos have C = 3" },
         { "classes", "graft.class_source", "", "names of the outputs" },
         { "outputs", "integer", "", "how many outputs, where there are no names; build receives it" },
         { "name", "string", '"network"', "of the architecture" },
         { "head", "string", "", "the classifier's layer; without: the last one, when it is linear" },
         { "stages", "string[]", "{}", "names of the stages from input to output, the stem first" },
         { "preprocessing", "table", "", "as net.preprocessing; without: ImageNet's usual one" },
      },
      returns = { { "graft.network", "all of it trainable" } },
      errors = { { "option", "input or build is missing; build returns no node",
            "graft.nn.network{ input = { 3, 8, 8 }, build = function(x) end }" },
         { "name", "a layer's name is used twice, with both lines; there is no such layer kind",
            "graft.nn.network{ input = { 3, 8, 8 }, build = function(x) return x:conv3d() end }" },
         { "shape", "a layer cannot have this input",
            'graft.nn.network{ input = { 3, 8, 8 }, build = function(x) return x:linear("fc", { out = 2 }) end }' } },
      example = 'local net = graft.nn.network{ name = "tiny", input = { 3, 16, 16 }, classes = d, stages = { "conv1", "conv2" '
         .. '},\n'
         .. '  build = function(x)\n    x = x:conv2d("conv1", { out = 8, kernel = 3, padding = "same" }):relu():max_pool{ '
            .. 'kernel = 2 }\n'
         .. '    x = x:conv2d("conv2", { out = 16, kernel = 3, padding = "same" }):relu()\n'
         .. '    return x:global_avg_pool():linear("fc", { out = #d.classes })\n  end }\nprint(net.head)  --> fc',
      see = { "graft.fit", "graft.nn.layer", "graft.models" },
   },
   {
      name = "graft.nn.concat",
      text = "Joins nodes along the channels; height and width must be the same. A name may come first.",
      arguments = { { "name", "string", "", "of the layer" }, { "nodes", "graft.node[]", "required", "at least one" } },
      signature = "graft.nn.concat([name,] {a, b, ...}) -> node",
      returns = { { "graft.node", "their channels, one after the other" } },
      errors = { { "option", "it is no list of nodes", "graft.nn.concat{}" } },
      example = 'graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n'
         .. '  local y = graft.nn.concat{ x, x:relu() }\n  assert(y.shape[1] == 6)\n  return y:global_avg_pool():linear("fc", '
            .. '{ out = 2 })\nend }',
      see = { "node + node" },
   },
   {
      name = "graft.nn.layer",
      text = "A kind of layer written in Lua, for node:apply. A model file names the kind and its options, never code: a file "
         .. "with such a layer loads once its kind is registered.\n\nThe tensors that the functions receive are lent for the "
         .. "call. graft.nn.check compares the gradient with finite differences.",
      options = {
         { "kind", "string", "required", "its name in files" },
         { "forward", "fun(x: graft.tensor, p: table, options: table): graft.tensor, any?", "required",
            "returns y, and what backward needs; x is [N,C,H,W] or [N,C], p holds the parameters by name" },
         { "backward", "fun(gy: graft.tensor, x: graft.tensor, y: graft.tensor, p: table, saved: any, options: table): "
            .. "graft.tensor, graft.tensor[]?", "", "returns the gradient of x, and a list with those of the parameters; "
            .. "without it nothing below can be trained" },
         { "shape", "fun(shape: integer[], options: table): integer[]", "", "shape of the output; without: as the input" },
         { "parameters", "table[]|fun(shape: integer[], options: table): table[]", "", "list of {name =, shape =, init = "
            .. "\"uniform\", \"he\", \"zeros\" or \"ones\", decays =}" },
         { "options", "table", "", "what the functions receive where node:apply gives nothing" },
         { "pure", "boolean", "false", "the same output for the same input: the layer may lie in a part that is kept" },
      },
      returns = { { "graft.layer", "for node:apply and graft.nn.check" } },
      errors = { { "option", "kind or forward is missing", 'graft.nn.layer{ kind = "half" }' } },
      example = 'local half = graft.nn.layer{ kind = "half", pure = true,\n  forward = function(x) return x * 0.5 end,\n'
         .. "  backward = function(gy) return gy * 0.5 end }\nprint(graft.nn.check(half, { 2, 3 }) < 0.02)  --> true",
      see = { "node:apply", "graft.nn.check" },
   },
   {
      name = "node:apply",
      text = "A layer of a kind written in Lua.",
      arguments = { { "name", "string", "required", "of the layer" }, { "layer", "graft.layer", "required",
         "made by graft.nn.layer" },
         { "options", "table", "", "what its functions receive" } },
      returns = { { "graft.node", "its output" } },
      errors = { { "option", "it is no such layer", 'graft.nn.network{ input = { 3, 8, 8 }, build = function(x) return '
         .. 'x:apply("a", {}) end }' } },
      example = 'local twice = graft.nn.layer{ kind = "twice", forward = function(x) return x * 2 end,\n'
         .. "  backward = function(gy) return gy * 2 end }\ngraft.nn.network{ input = { 3, 8, 8 }, classes = d, build = "
            .. "function(x)\n"
         .. '  return x:apply("double", twice):global_avg_pool():linear("fc", { out = 2 })\nend }',
      see = { "graft.nn.layer" },
   },
   { name = "node.shape", type = "integer[]", text = "Shape of the output: {C,H,W}, or {C} when flat.",
      example = 'graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n  print(x.shape[1])  --> 3\n'
         .. '  return x:global_avg_pool():linear("fc", { out = 2 })\nend }' },
   { name = "node.name", type = "string", text = "Name of the layer.",
      example = 'graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n  print(x.name)  --> input\n'
         .. '  return x:global_avg_pool():linear("fc", { out = 2 })\nend }' },
   { name = "node + node", operator = { "add", "graft.node", "graft.node" }, text = "The sum of two nodes of one shape.",
      example = 'graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n'
         .. '  return (x + x:relu()):global_avg_pool():linear("fc", { out = 2 })\nend }', see = { "node:add" } },
   { name = "node * node", operator = { "mul", "graft.node", "graft.node" }, text = "The product of two nodes of one shape, "
      .. "or of [C,H,W] with a factor for each channel.", example = 'graft.nn.network{ input = { 3, 8, 8 }, classes = d, '
      .. 'build = function(x)\n'
         .. '  return (x * x:global_avg_pool{ keep = true }:sigmoid()):global_avg_pool():linear("fc", { out = 2 })\nend }',
      see = { "node:multiply" } },
   { name = "layer.kind", type = "string", text = "The name under which files know it. The other fields are what "
      .. "graft.nn.layer was given.", example = 'print(graft.nn.layer{ kind = "same", forward = function(x) return x end '
      .. '}.kind)  --> same' },
}

-- --- the kinds ---

-- What an option means, by kind and name, else by name.
local meanings = {
   out = "channels of the output", kernel = "size of the window", stride = "steps of the window",
   padding = 'zeros on each side, or "same"', dilation = "distance of the window's pixels", groups = "channels are split into "
      .. "so many groups", bias = "adds a number for each channel", eps = "added to the variance", momentum = "share of the "
      .. "batch in the running statistics", affine = "multiplies and adds a number for each channel",
      slope = "of the negative part",
   ceil = "the size is rounded up, so that no pixel is lost", count_padding = "padding counts in the divisor",
   keep = "the output is [C,1,1] instead of [C]", size = "{height, width} of the output", p = "probability, 0 to below 1",
   ["max_pool.stride"] = "steps of the window; 0: its size", ["avg_pool.stride"] = "steps of the window; 0: its size",
   ["max_pool.padding"] = 'pixels on each side that never win, or "same"', ["linear.out"] = "outputs",
   ["group_norm.groups"] = "channels are normalised in so many groups",
}
local kinds_of_options = { pair = "integer|integer[]", padding = 'integer|integer[]|"same"' }
-- What is put between the input [3,8,8] and the classifier in the example; layers without one take no arguments.
local calls = {
   conv2d = 'x:conv2d("conv1", { out = 8, kernel = 3, padding = 1 })', linear = 'x:flatten():linear("hidden", { out = 8 })',
   batch_norm = 'x:batch_norm("bn1")', group_norm = 'x:group_norm("gn1", { groups = 3 })', leaky_relu = "x:leaky_relu(0.1)",
   max_pool = "x:max_pool{ kernel = 2 }", avg_pool = "x:avg_pool{ kernel = 2 }", adaptive_avg_pool = "x:adaptive_avg_pool(4)",
   dropout = "x:dropout(0.2)", global_avg_pool = "x:global_avg_pool()", global_max_pool = "x:global_max_pool()",
}
-- The option that a number stands for, as in nn.lua.
local short = { dropout = "p", leaky_relu = "slope", group_norm = "groups", adaptive_avg_pool = "size" }
-- Layers over pixels, as the example of an error calls them.
local spatial = { conv2d = 'x:conv2d("c", { out = 2, kernel = 3 })', max_pool = "x:max_pool{ kernel = 2 }",
   avg_pool = "x:avg_pool{ kernel = 2 }", global_avg_pool = "x:global_avg_pool()", global_max_pool = "x:global_max_pool()",
   adaptive_avg_pool = "x:adaptive_avg_pool(2)" }
local named = { conv2d = true, linear = true, batch_norm = true, group_norm = true }
local flat = { linear = true, global_avg_pool = true, global_max_pool = true, flatten = true }

local function default_of(option)
   if option.required then
      return "required"
   end
   local value = option.default
   return math.type(value) == "float" and value == math.floor(value) and ("%d"):format(value)
      or type(value) == "number" and ("%g"):format(value) or tostring(value)
end

for _, kind in ipairs(core.kinds()) do
   local two = kind.name == "add" or kind.name == "multiply"
   if two then
      table.insert(topic.entries, {
         name = "node:" .. kind.name, text = ("Layer: %s. The same as %s."):format(kind.summary,
            kind.name == "add" and "node + node" or "node * node"),
         arguments = { { "other", "graft.node", "required", "of the same network" } },
         returns = { { "graft.node", "its output" } },
         errors = { { "shape", "shapes do not fit", ("graft.nn.network{ input = { 3, 8, 8 }, build = function(x)\n"
            .. "  return x:%s(x:max_pool{ kernel = 2 }) end }"):format(kind.name) } },
         example = ("graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n"
            .. '  return x:%s(x:relu()):global_avg_pool():linear("fc", { out = 2 })\nend }'):format(kind.name),
         see = { "node + node", "node * node" },
      })
   elseif kind.name ~= "input" and kind.name ~= "custom" and kind.name ~= "concat" then
      local options, required = {}, false
      for i, option in ipairs(kind.options) do
         options[i] = { option.name, kinds_of_options[option.type] or option.type, default_of(option),
            meanings[kind.name .. "." .. option.name] or meanings[option.name] }
         required = required or option.required
      end
      table.insert(topic.entries, {
         name = "node:" .. kind.name,
         text = "Layer: " .. kind.summary .. "." .. (short[kind.name] and (" A number in the place of the table stands for "
            .. "%s."):format(
            short[kind.name]) or ""),
         arguments = { { "name", "string", named[kind.name] and "required" or "", "of the layer"
            .. (named[kind.name] and "; its tensors carry it" or "") } },
         options = #options > 0 and options or nil, options_required = required,
         short = short[kind.name],
         signature = ("node:%s(%s) -> node"):format(kind.name, named[kind.name] and (required and "name, {...}" or "name [, "
            .. "{...}]")
            or #options == 0 and "[name]" or required and "[name,] {...}" or "[name,] [{...}]"),
         returns = { { "graft.node", "its output" } },
         errors = spatial[kind.name] and { { "shape", "its input is flat, or smaller than the window",
            ("graft.nn.network{ input = { 3, 8, 8 }, build = function(x)\n  x = x:flatten()\n  return %s end "
               .. "}"):format(spatial[kind.name]) } }
            or kind.name == "linear" and { { "shape", "its input is not flat", 'graft.nn.network{ input = { 3, 8, 8 }, build '
               .. '= function(x) return x:linear("fc", { out = 2 }) end }' } } or nil,
         example = ("graft.nn.network{ input = { 3, 8, 8 }, classes = d, build = function(x)\n  x = %s\n  return "
            .. "x%s:linear(\"fc\", { out = 2 })\nend }"):format(calls[kind.name] or ("x:%s()"):format(kind.name),
               flat[kind.name] and "" or ":global_avg_pool()"),
         see = { "graft.nn.network" },
      })
   end
end

return topic
