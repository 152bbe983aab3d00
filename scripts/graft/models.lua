-- The architectures of models/, networks with random weights, and recognising an architecture in a weights file.

local core = require "graft.core"
local strict = require "graft.strict"
local nn = require "graft.nn"

local models = { specs = {}, names = {} }

for _, family in ipairs(require "graft.models.init") do
   for _, spec in ipairs(require("graft.models." .. family)) do
      models.specs[spec.name] = spec
      models.names[#models.names + 1] = spec.name
   end
end
table.sort(models.names)

function models.spec(name, who)
   local spec = models.specs[name]
   if not spec then
      local near = core.nearest(tostring(name), models.names)
      core.error("name", ("%s: no architecture %q; %s"):format(who, tostring(name),
         near and ('nearest: "%s"'):format(near) or "there is: " .. table.concat(models.names, ", ")), near)
   end
   return spec
end

local function lines(name)
   local text = core.embedded(name)
   local result = {}
   for line in text:gmatch("[^\n]+") do
      result[#result + 1] = line
   end
   return result
end

-- ImageNet's 1000 names in the order that the architecture's published weights use. Two classes share a name ("crane",
-- "maillot"); the later one carries its synset.
function models.imagenet_classes(list)
   local names, by_synset, seen = {}, {}, {}
   for _, line in ipairs(lines("models/imagenet_classes.tsv")) do
      local index, synset, name = line:match("^(%d+)\t(n%d+)\t(.+)$")
      if seen[name] then
         name = ("%s (%s)"):format(name, synset)
      end
      seen[name] = true
      names[tonumber(index) + 1] = name
      by_synset[synset] = name
   end
   if list == "darknet" then
      for i, synset in ipairs(lines("models/darknet_classes.tsv")) do
         names[i] = by_synset[synset]
      end
   end
   return names
end

-- A bindings' network of this architecture with `outputs` classes. `deferred`: as in nn.record.
function models.build(spec, outputs, size, deferred)
   local input = spec.input
   if size then
      input = { input[1], size, size }
   end
   return nn.record { name = spec.name, input = input, head = spec.head, stages = spec.stages,
      preprocessing = spec.preprocessing, outputs = outputs, deferred = deferred, build = spec.build }
end

-- graft.models.NAME{classes=, size=}
models.constructors = setmetatable({}, {
   __index = function(_, name)
      local spec = models.spec(name, "graft.models")
      return function(options)
         local who = "graft.models." .. name
         options = strict.options(options, who, { classes = { "table", "userdata" }, size = "integer" })
         local network = require "graft.network"
         local classes = options.classes and network.class_list(options.classes, who)
            or models.imagenet_classes(spec.class_list)
         local net = models.build(spec, #classes, options.size)
         net:set_classes(classes)
         return network.wrap(net)
      end
   end,
   __pairs = function()
      local i = 0
      return function()
         i = i + 1
         return models.names[i], models.names[i] and models.constructors[models.names[i]]
      end
   end,
})

local function same_shape(a, b)
   return a and b and table.concat(a, ",") == table.concat(b, ",")
end

local function fits(spec, shapes)
   for _, tensor in ipairs(spec.has) do
      if not same_shape(shapes[tensor[1]], tensor[2]) then
         return false
      end
   end
   for _, name in ipairs(spec.lacks or {}) do
      if shapes[name] then
         return false
      end
   end
   return true
end

-- Finds the architecture of these tensors. Returns its spec, the tensors' shapes by the architecture's names, and the
-- map from the file's names to those; nil when none fits.
function models.recognise(tensors, wanted)
   for _, name in ipairs(wanted and { wanted } or models.names) do
      local spec = models.specs[name]
      local shapes, map = {}, {}
      for _, tensor in ipairs(tensors) do
         local own = spec.rename and spec.rename(tensor.name) or tensor.name
         shapes[own] = tensor.shape
         if own ~= tensor.name then
            map[tensor.name] = own
         end
      end
      if wanted or fits(spec, shapes) then
         return spec, shapes, map
      end
   end
end

return models
