-- Building networks. A symbolic node stands for the output of a layer; calling a layer's method on it adds a layer to the
-- network and gives the next node. What is recorded is data, so that it can be saved.

local core = require "graft.core"
local strict = require "graft.strict"

local nn = {}

local Node = { __name = "graft.node" }

-- Layers with parameters must be named: their tensors carry the name into files.
local named = { conv2d = true, linear = true, batch_norm = true, group_norm = true }
-- The option that a bare number stands for: x:dropout(0.2)
local short = { dropout = "p", leaky_relu = "slope", group_norm = "groups", adaptive_avg_pool = "size" }

local function is_node(value)
   return getmetatable(value) == Node
end

-- "recipe.lua:12", the nearest caller outside this library.
local function recipe_line()
   for level = 3, 20 do
      local info = debug.getinfo(level, "Sl")
      if not info then
         return "?"
      elseif info.currentline > 0 and not info.source:find("graft/", 1, true) then
         return info.short_src .. ":" .. info.currentline
      end
   end
   return "?"
end

local function add_layer(kind, inputs, name, options)
   local recording = inputs[1].recording
   local names = {}
   for i, input in ipairs(inputs) do
      if not is_node(input) or input.recording ~= recording then
         core.error("option", ("%s: expected nodes of one network, got %s"):format(kind, type(input)))
      end
      names[i] = input.name
   end
   local line = recipe_line()
   if name and recording.lines[name] then
      core.error("name", ("layer %q is named twice: %s and %s"):format(name, recording.lines[name], line))
   end
   local made, shape = recording.net:add(kind, name, options, names)
   recording.lines[made] = line
   recording.last_linear = kind == "linear" and made or recording.last_linear
   return setmetatable({ recording = recording, name = made, shape = shape }, Node)
end

-- The arguments of a layer's method: [name], then options or one bare number.
local function arguments(kind, first, second)
   local name, options = nil, first
   if type(first) == "string" or first == nil then
      name, options = first, second
   end
   if named[kind] and not name then
      core.error("option", ("%s needs a name, for example x:%s(\"conv1\", {...}); its tensors carry it"):format(kind, kind))
   end
   if type(options) == "number" and short[kind] then
      options = { [short[kind]] = options }
   end
   return name, options
end

local function method(kind)
   return function(self, first, second)
      local name, options = arguments(kind, first, second)
      return add_layer(kind, { self }, name, options)
   end
end

local methods = {}
for _, kind in ipairs(core.kinds()) do
   if kind.name ~= "input" and kind.name ~= "custom" and kind.name ~= "concat" then
      methods[kind.name] = method(kind.name)
   end
end

-- Two inputs: as the operators + and *.
for _, kind in ipairs { "add", "multiply" } do
   methods[kind] = function(self, other)
      return add_layer(kind, { self, other })
   end
end

-- x:apply(NAME, layer): a layer made by graft.nn.layer
function methods.apply(self, name, layer, options)
   strict.check(name, "string", "apply: the layer's name")
   if type(layer) ~= "table" or type(rawget(layer, "kind")) ~= "string" then
      core.error("option", "apply: expected a layer made by graft.nn.layer{...}, got " .. type(layer))
   end
   return add_layer("custom", { self }, name, { kind = layer.kind, options = options or rawget(layer, "options") })
end

Node.__index = function(_, key)
   local found = methods[key]
   if not found then
      local known = strict.keys(methods)
      local near = core.nearest(tostring(key), known)
      core.error("name", ("there is no layer kind %q%s"):format(tostring(key),
         near and ('; nearest: "%s"'):format(near) or "; there is: " .. table.concat(known, ", ")), near)
   end
   return found
end
Node.__add = function(a, b)
   return add_layer("add", { a, b })
end
Node.__mul = function(a, b)
   return add_layer("multiply", { a, b })
end
Node.__tostring = function(self)
   return ("node %s [%s]"):format(self.name, table.concat(self.shape, ","))
end

-- graft.nn.concat{a, b, ...} or concat("name", {...}): channels side by side
function nn.concat(first, second)
   local name, inputs = nil, first
   if type(first) == "string" then
      name, inputs = first, second
   end
   inputs = strict.list(inputs, "any", "graft.nn.concat")
   if #inputs < 1 or not is_node(inputs[1]) then
      core.error("option", "graft.nn.concat: expected a list of nodes")
   end
   return add_layer("concat", inputs, name)
end

local network_keys = { name = "string", input = "table", classes = { "table", "userdata" }, head = "string",
   stages = "table", preprocessing = "table", build = "function", outputs = "integer" }

-- Records a network: returns the bindings' network. `outputs`: number of classes where there are no names yet;
-- `deferred`: its values come from a file next, so none are drawn.
function nn.record(options)
   local net = core.network(options.name, options.input, options.preprocessing, core.seed())
   if options.deferred then
      net:defer()
   end
   local recording = { net = net, lines = { input = "the input" } }
   local x = setmetatable({ recording = recording, name = "input", shape = options.input }, Node)
   local logits, aux = options.build(x, options.outputs)
   if not is_node(logits) then
      core.error("option", ("%s: build must return the node of the logits, got %s"):format(options.name, type(logits)))
   end
   local head = options.head or (recording.last_linear == logits.name and logits.name) or nil
   net:finish { output = logits.name, head = head, stages = options.stages or {} }
   for _, classifier in ipairs(aux or {}) do
      net:mark_aux(classifier.at, classifier.output.name, classifier.weight)
   end
   return net
end

-- graft.nn.network{...}: see the reference
function nn.network(options)
   options = strict.options(options, "graft.nn.network", network_keys)
   for _, key in ipairs { "input", "build" } do
      if options[key] == nil then
         core.error("option", ("graft.nn.network: %s is required"):format(key))
      end
   end
   options.name = options.name or "network"
   local network = require "graft.network"
   local classes = options.classes and network.class_list(options.classes, "graft.nn.network")
   options.outputs = classes and #classes or options.outputs
   local net = nn.record(options)
   if classes then
      net:set_classes(classes)
   end
   return network.wrap(net)
end

-- Losses as callables: loss(logits, y [, b]) -> number, gradient
local loss_keys = {
   cross_entropy = { label_smoothing = "number", class_weights = "table" },
   binary_cross_entropy = { class_weights = "table" },
   mse = {},
}
local Loss = { __name = "graft.loss" }
Loss.__index = function(_, key)
   core.error("name", ("a loss has no field %q; call it: loss(logits, y)"):format(tostring(key)))
end
Loss.__call = function(self, logits, y, b)
   return core.loss(rawget(self, "description"), logits, y, type(b) == "table" and rawget(b, "columns") or nil)
end
Loss.__tostring = function(self)
   return rawget(self, "description").kind
end

for kind, keys in pairs(loss_keys) do
   nn[kind] = function(options)
      local description = strict.options(options, "graft.nn." .. kind, keys)
      description.kind = kind
      return setmetatable({ description = description }, Loss)
   end
end

-- What the bindings take as a loss: a plain description, or a function.
function nn.loss_fields(loss, who)
   if getmetatable(loss) == Loss then
      return rawget(loss, "description")
   elseif type(loss) == "function" then
      return loss
   end
   core.error("option", ("%s: loss must be a function(logits, y, b) or one of graft.nn.cross_entropy{}, "
      .. "binary_cross_entropy{}, mse{}; got %s"):format(who, type(loss)))
end

local layer_keys = { kind = "string", shape = "function", parameters = { "function", "table" }, forward = "function",
   backward = "function", options = "table", pure = "boolean" }

-- graft.nn.layer{...}: a kind of layer written in Lua; see the reference
function nn.layer(options)
   local layer = strict.options(options, "graft.nn.layer", layer_keys)
   if not layer.kind or not layer.forward then
      core.error("option", "graft.nn.layer: kind and forward are required")
   end
   core.register_layer(layer)
   return setmetatable(layer, { __name = "graft.layer", __tostring = function()
      return "layer kind " .. layer.kind
   end })
end

-- Largest relative difference between a gradient and central differences of f at x.
local function worst_difference(f, x, gradient)
   local step, worst, where = 1e-2, 0, 0
   local flat, g = x:reshape(-1), gradient:contiguous():reshape(-1)
   local scale = math.max(g:abs():max(), 1e-3)
   for i = 1, #flat do
      local kept = flat[i]
      flat[i] = kept + step
      local above = f()
      flat[i] = kept - step
      local below = f()
      flat[i] = kept
      local difference = math.abs((above - below) / (2 * step) - g[i]) / scale
      if difference > worst then
         worst, where = difference, i
      end
   end
   return worst, where
end

-- Random parameters of a layer for an input [N,...], as forward gets them: by position and by name.
local function random_parameters(layer, shape)
   local specs, p, names = layer.parameters, {}, {}
   if type(specs) == "function" then
      specs = specs(table.move(shape, 2, #shape, 1, {}), {})
   end
   for i, spec in ipairs(type(specs) == "table" and specs or {}) do
      p[i] = core.tensor.randn(spec.shape)
      names[i] = spec.name or tostring(i)
      p[names[i]] = p[i]
   end
   return p, names
end

-- What a loss has to show: its value as a function of x, and {what, x, gradient}.
local function loss_checks(loss, shape)
   local tensor = core.tensor
   if #shape ~= 2 or shape[1] < 1 or shape[2] < 1 then
      core.error("shape", "graft.nn.check: a loss is checked on a shape {photos, classes}, such as {8, 4}")
   end
   local x, y = tensor.randn(shape), tensor.zeros(shape)
   for i = 1, shape[1] do
      y[i][(i - 1) % shape[2] + 1] = 1
   end
   local value, gradient = loss(x, y, nil)
   strict.check(value, "number", "graft.nn.check: the first result of the loss")
   strict.check(gradient, "userdata", "graft.nn.check: the second result of the loss, its gradient,")
   return function()
      return (loss(x, y, nil))
   end, { { "loss", x, gradient } }
end

local function layer_checks(layer, shape)
   local tensor = core.tensor
   local what = "layer " .. layer.kind
   local x = tensor.randn(shape)
   local p, names = random_parameters(layer, shape)
   local y, saved = layer.forward(x, p)
   local gy = tensor.randn(y.shape)
   local gx, gradients = layer.backward(gy, x, y, p, saved)
   strict.check(gx, "userdata", "graft.nn.check: the first result of backward, the gradient of the input,")
   local checks = { { what, x, gx } }
   for i, name in ipairs(names) do
      local gradient = type(gradients) == "table" and gradients[i]
      strict.check(gradient, "userdata", ("graft.nn.check: the gradient of the parameter %q of the %s"):format(name, what))
      checks[#checks + 1] = { ("%s with respect to its parameter %q"):format(what, name), p[i], gradient }
   end
   return function()
      return (layer.forward(x, p) * gy):sum()
   end, checks
end

-- graft.nn.check(loss_or_layer, shape): compares its gradients (of a layer also those of its parameters) with finite
-- differences at random points; raises if one is off
function nn.check(subject, shape)
   shape = strict.list(shape, "integer", "graft.nn.check: the second argument, a shape such as {8, 4},")
   local f, checks
   if type(subject) == "function" or getmetatable(subject) == Loss then
      f, checks = loss_checks(subject, shape)
   elseif type(subject) == "table" and type(rawget(subject, "forward")) == "function"
      and type(rawget(subject, "backward")) == "function" then
      f, checks = layer_checks(subject, shape)
   else
      core.error("option", "graft.nn.check: expected a loss or a layer made by graft.nn.layer, got " .. type(subject))
   end
   local most = 0
   for _, check in ipairs(checks) do
      local what, x, gradient = table.unpack(check)
      if table.concat(gradient.shape, ",") ~= table.concat(x.shape, ",") then
         core.error("shape", ("graft.nn.check: the gradient of the %s has shape [%s], its argument [%s]"):format(what,
            table.concat(gradient.shape, ","), table.concat(x.shape, ",")))
      end
      local worst, where = worst_difference(f, x, gradient)
      if worst > 2e-2 then
         core.error("number", ("graft.nn.check: the gradient of the %s is off by %.1f %% of its largest entry at element %d; "
            .. "finite differences say otherwise"):format(what, 100 * worst, where))
      end
      most = math.max(most, worst)
   end
   return most
end

return nn
