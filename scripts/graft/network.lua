-- Networks as recipes see them: a thin, strict surface over the bindings' network.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"

local network = {}

local Net = { __name = "graft.network" }
local handles = setmetatable({}, { __mode = "k" }) -- surface -> bindings' network

function network.is(value)
   return getmetatable(value) == Net
end

-- The bindings' network behind a surface.
function network.handle(net, who)
   if not network.is(net) then
      core.error("option", ("%s: expected a network (graft.load, graft.models.NAME), got %s"):format(who, type(net)))
   end
   return handles[net]
end

function network.wrap(handle)
   local net = setmetatable({}, Net)
   handles[net] = handle
   return net
end

-- A list of class names from a list or a data set.
function network.class_list(classes, who)
   local meta = getmetatable(classes)
   if type(classes) == "table" and type(meta) == "table" and meta.__name == "graft.data" then
      return classes.classes
   end
   if type(classes) ~= "table" then
      core.error("option", ("%s: expected a list of class names or a data set, got %s"):format(who, type(classes)))
   end
   local list, seen = {}, {}
   for i, name in ipairs(strict.list(classes, "string", who .. ": the classes")) do
      if seen[name] then
         core.error("name", ("%s: class %q is named twice"):format(who, name))
      end
      seen[name], list[i] = true, name
   end
   if #list < 1 then
      core.error("option", ("%s: expected at least one class name"):format(who))
   end
   return list
end

-- Names from varargs, or from one table whose list part is names and whose keys are options.
local function patterns(who, options, ...)
   local names, given = {}, {}
   local first = ...
   if type(first) == "table" then
      for key, value in next, first do
         if math.type(key) == "integer" then
            names[key] = value
         else
            given[key] = value
         end
      end
      given = strict.options(given, who, options)
   else
      names = { ... }
   end
   if #names == 0 then
      core.error("name", ("%s: no layer is named; to mean all of them, say %s(\"*\")"):format(who, who))
   end
   for _, name in ipairs(names) do
      strict.check(name, "string", who .. ": a layer's name")
   end
   return names, given
end

-- Where the first of its values came from: "resnet18.pth"; nil when all are random.
local function source_of(handle)
   for _, row in ipairs(handle:layers()) do
      if row.source then
         return row.source
      end
   end
end

local paths = setmetatable({}, { __mode = "k" }) -- network -> the file that it was loaded from, as it was named

-- What to name instead, below an error of the command line.
local function names_of(handle)
   local names, head, source = handle:stages(), handle:head(), paths[handle] or source_of(handle)
   if names[#names] ~= head then
      names[#names + 1] = head
   end
   return ("\nlayers: %s; words: body head aux *%s"):format(table.concat(names, " "),
      source and ("     all: graft inspect %s --layers"):format(core.printable(source)) or "")
end

-- Prefixes the bindings' message with the call that the user wrote; `...` begins with the bindings' network.
local function call(who, f, ...)
   local results = table.pack(pcall(f, ...))
   if not results[1] then
      local failure = results[2]
      if core.is_error(failure) then
         local told = failure.message:sub(1, #who + 2) == who .. ": "
         local names = require("graft.context").command and failure.message:find('no layer "', 1, true) and names_of(...)
         core.error(failure.kind, (told and "" or who .. ": ") .. failure.message .. (names or ""), failure.near)
      end
      error(failure, 0)
   end
   return table.unpack(results, 2, results.n)
end

-- The layer at which a layer or stage ends.
function network.layer_end(handle, who, name)
   return call(who, handle.layer_end, handle, name)
end

local methods = {}

function methods:freeze(...)
   call("net:freeze", handles[self].freeze, handles[self], (patterns("net:freeze", {}, ...)))
   return self
end

local function check_norm_mode(mode, who)
   if mode ~= nil and mode ~= "fixed" and mode ~= "train" then
      core.error("option", ('%s: bn must be "train" or "fixed", got %s'):format(who, tostring(mode)))
   end
end

function methods:unfreeze(...)
   local names, given = patterns("net:unfreeze", { bn = "string" }, ...)
   check_norm_mode(given.bn, "net:unfreeze")
   call("net:unfreeze", handles[self].unfreeze, handles[self], names)
   call("net:unfreeze", handles[self].fix_norms, handles[self], names, given.bn == "fixed")
   return self
end

-- Only kernels that round as a direct computation does, from now on; net:exact(false) lets all of them in again.
function methods:exact(on)
   if on == nil then
      on = true
   end
   handles[self]:set_exact(strict.check(on, "boolean", "net:exact"))
   return self
end

function methods:reinit(...)
   call("net:reinit", handles[self].reinit, handles[self], (patterns("net:reinit", {}, ...)))
   return self
end

-- {{"*", 1/10}, {"head", 1}}: ordered rules, the last match wins; they replace all earlier ones.
function methods:lr_scale(rules)
   local who = "net:lr_scale"
   rules = strict.list(rules, "any", who)
   for i, rule in ipairs(rules) do
      if type(rule) ~= "table" or type(rawget(rule, 1)) ~= "string" or type(rawget(rule, 2)) ~= "number" then
         core.error("option", ('%s: rule %d must look like {"layer4", 1/10}'):format(who, i))
      end
   end
   call(who, handles[self].lr_scale, handles[self], rules)
   return self
end

local head_keys = { hidden = "integer", dropout = "number" }

-- What replacing the head leaves unused of the weights file, for the plan.
local function retire_head(handle)
   local report = require("graft.context").reports[handle]
   if report and not report.retired then
      report.retired = true
      for _, tensor in ipairs(handle:tensors()) do
         if tensor.layer == handle:head() then
            table.insert(report.unused, ("%s (the old head, %d classes)"):format(tensor.name, tensor.shape[1]))
         end
      end
   end
end

-- What the file left missing or unused, for a network made of another one; `fate` is what became of tensors that it has not.
local function inherit_report(from, to, fate)
   local reports = require("graft.context").reports
   local report = reports[from]
   if not report then
      return
   end
   local copy = { missing = {}, unused = table.move(report.unused, 1, #report.unused, 1, {}), retired = report.retired }
   local has = {}
   for _, tensor in ipairs(to:tensors()) do
      has[tensor.name] = true
   end
   for _, name in ipairs(report.missing) do
      copy.missing[#copy.missing + 1] = has[name] and name or nil
   end
   for _, tensor in ipairs(from:tensors()) do
      if not has[tensor.name] then
         copy.unused[#copy.unused + 1] = ("%s (%s)"):format(tensor.name, fate)
      end
   end
   reports[to] = copy
end

function methods:replace_head(classes, options)
   local who = "net:replace_head"
   retire_head(handles[self])
   call(who, handles[self].replace_head, handles[self], network.class_list(classes, who),
      strict.options(options, who, head_keys))
   return self
end

function methods:add_head(classes, options)
   local who = "net:add_head"
   call(who, handles[self].add_head, handles[self], network.class_list(classes, who),
      strict.options(options, who, head_keys))
   return self
end

function methods:add_aux(layer, options)
   local who = "net:add_aux"
   strict.check(layer, "string", who .. ": the layer")
   options = strict.options(options, who, { classes = { "table", "userdata" }, weight = "number", hidden = "integer",
      pool = "string" })
   if options.classes then
      local wanted, own = network.class_list(options.classes, who), handles[self]:classes()
      if table.concat(wanted, "\n") ~= table.concat(own, "\n") then
         core.error("name", who .. ": an auxiliary classifier has the network's own classes")
      end
      options.classes = nil
   end
   call(who, handles[self].add_aux, handles[self], layer, options)
   return self
end

function methods:remove_aux(layer)
   call("net:remove_aux", handles[self].remove_aux, handles[self], layer)
   return self
end

function methods:cut(layer, options)
   local who = "net:cut"
   strict.check(layer, "string", who .. ": the layer")
   options = strict.options(options, who, { head = "string" })
   if options.head and options.head ~= "aux" then
      core.error("option", ('%s: head must be "aux", got "%s"'):format(who, options.head))
   end
   local handle = call(who, handles[self].cut, handles[self], layer, options.head == "aux")
   inherit_report(handles[self], handle, "cut off")
   return network.wrap(handle)
end

function methods:clone()
   local handle = handles[self]:clone()
   inherit_report(handles[self], handle)
   return network.wrap(handle)
end

function methods:close()
   handles[self]:close()
end

function methods:parameters(trainable_only)
   return handles[self]:parameters(trainable_only)
end

function methods:digest()
   return (handles[self]:digest())
end

function methods:save(path, options)
   options = strict.options(options, "net:save", { aux = "boolean" })
   strict.check(path, "string", "net:save: the path")
   if require("graft.context").planning then
      return self
   end
   call("net:save", core.save_model, handles[self], path, { aux = options.aux or false })
   return self
end

-- An ONNX file, for other programs to run.
function methods:export(path, options)
   options = strict.options(options, "net:export", { aux = "boolean" })
   strict.check(path, "string", "net:export: the path")
   if require("graft.context").planning then
      return self
   end
   call("net:export", core.export, handles[self], path, { aux = options.aux or false })
   return self
end

-- The logits of a batch [N,C,H,W]; with {heads=true} a table {head=, [layer]=} with every classifier's.
function methods:forward(x, options)
   options = strict.options(options, "net:forward", { heads = "boolean" })
   local handle = handles[self]
   if not options.heads then
      return call("net:forward", handle.forward, handle, x)
   end
   local names, keys = { handle:output() }, { "head" }
   for _, aux in ipairs(handle:aux()) do
      names[#names + 1], keys[#keys + 1] = aux.output, aux.at
   end
   local result = {}
   for i, logits in ipairs(call("net:forward", handle.forward, handle, x, names)) do
      result[keys[i]] = logits
   end
   return result
end

-- The outputs of layers or stages for a batch: one name gives a tensor, a list gives a table by name.
function methods:features(x, names)
   local single = type(names) == "string"
   local list = single and { names } or strict.list(names, "string", "net:features: the layers")
   local ends = {}
   for i, name in ipairs(list) do
      ends[i] = network.layer_end(handles[self], "net:features", name)
   end
   local outputs = call("net:features", handles[self].forward, handles[self], x, ends)
   local result = {}
   for i, name in ipairs(list) do
      result[name] = outputs[i]
   end
   return single and result[names] or result
end

function methods:preprocess(image)
   return call("net:preprocess", core.preprocess, handles[self], image)
end

-- Classes and probabilities, best first; a list of images gives a list of such lists.
function methods:predict(images, options)
   options = strict.options(options, "net:predict", { top = "integer" })
   local handle = handles[self]
   local classes = handle:classes()
   if #classes == 0 then
      core.error("name", "net:predict: this network has no class names; give them with graft.load(path, {classes={...}})")
   end
   local several = type(images) == "table" and not network.is(images)
   local list = several and strict.list(images, { "string", "userdata" }, "net:predict: the photos") or { images }
   if options.top and options.top < 1 then
      core.error("option", ("net:predict: top must be at least 1, got %d"):format(options.top))
   end
   local results = {}
   for i, image in ipairs(list) do
      local logits = self:forward(self:preprocess(image))
      local p = handle:multilabel() and logits:sigmoid() or logits:softmax(2)
      local top = {}
      for rank, index in ipairs(p:topk(math.min(options.top or 5, #classes), 2)[1]) do
         top[rank] = { class = classes[index], p = p[1][index] }
      end
      results[i] = top
   end
   return several and results or results[1]
end

-- for name, layer in net:layers([glob])
function methods:layers(glob)
   local rows, i = handles[self]:layers(), 0
   return function()
      repeat
         i = i + 1
      until not rows[i] or not glob or core.glob(glob, rows[i].name)
      if rows[i] then
         return rows[i].name, strict.table(rows[i], "a layer", { "stage", "source" })
      end
   end
end

-- Where the network sees a class, what it needs of the photo, and its first filters: scripts/graft/looking.lua.
for _, name in ipairs { "grad_cam", "occlusion", "filters", "seen" } do
   methods[name] = function(self, ...)
      return require("graft.looking")[name](self, ...)
   end
end

local function state_of(row)
   if row.parameters == 0 then
      return "-"
   end
   return row.frozen and "frozen" or "trained"
end

local function norm_of(row)
   if not row.norm then
      return "-"
   end
   return (row.frozen or row.fixed_norm) and "fixed" or "train"
end

local function same(a, b)
   if a == nil or a == "-" then
      return b
   end
   return (b == "-" or a == b) and a or "mixed"
end

-- Rows that stand for several layers: one a stage, and one for each part of the head and the auxiliary classifiers.
local function group(rows)
   local groups, last = {}, nil
   for _, row in ipairs(rows) do
      local key = row.head and (row.parameters > 0 and row.name) or row.aux and "aux" or row.stage
      if row.kind ~= "input" and (key or row.parameters > 0) then
         key = key or row.name
         if not last or last.name ~= key then
            last = { name = key, parameters = 0, state = "-", norm = "-", lr = "-" }
            groups[#groups + 1] = last
         end
         last.shape = row.shape
         last.parameters = last.parameters + row.parameters
         last.state = same(last.state, state_of(row))
         last.norm = same(last.norm, norm_of(row))
         if state_of(row) == "trained" then
            last.lr = same(last.lr, "x" .. ("%g"):format(row.lr_scale))
         end
      end
   end
   return groups
end

-- Neighbours that are wholly frozen become one row "conv1 .. layer4".
local function merge_frozen(groups)
   local merged = {}
   for _, g in ipairs(groups) do
      local last = merged[#merged]
      if last and last.state == "frozen" and g.state == "frozen" then
         last.name = (last.first or last.name) .. " .. " .. g.name
         last.first = last.first or last.name:match("^(%S+)")
         last.shape = g.shape
         last.parameters = last.parameters + g.parameters
         last.norm = same(last.norm, g.norm)
      else
         merged[#merged + 1] = g
      end
   end
   return merged
end

local function title(handle, is_file)
   local all, trained = handle:parameters(), handle:parameters(true)
   local classes, source = handle:classes(), source_of(handle)
   local percent = all > 0 and 100 * trained / all or 0
   if is_file then
      return ("%s  %s parameters, %s"):format(handle:name(), format.count(all),
         #classes > 0 and format.plural(#classes, "class", "classes") or "no class names")
   end
   return ("%s  %s parameters, %s trained (%s %%)   %s, %s"):format(handle:name(), format.count(all),
      format.count(trained), (percent > 0 and percent < 1) and ("%.2f"):format(percent) or ("%.0f"):format(percent),
      source and "from " .. source or "random weights",
      #classes > 0 and format.plural(#classes, "class", "classes") or "no class names")
end

-- The model of a run folder, where the path of one is given: its best.safetensors, else its last. For a command's first word.
function network.of_run(path)
   local stat = core.stat(path)
   for _, name in ipairs(stat and stat.kind == "folder" and { "best", "last" } or {}) do
      local file = ("%s/%s.safetensors"):format(path:gsub("(.)/+$", "%1"), name)
      if core.stat(file) then
         return file
      end
   end
   if stat and stat.kind == "folder" then
      core.error("file", ("%s: expected a model, got a folder that is no run folder; the model comes first, then photos"):format(
         path))
   end
   return path
end

-- The table of layers as text: stages by default, every layer that the glob names otherwise.
function methods:summary(glob)
   local rows = handles[self]:layers()
   local groups = {}
   if glob then
      for _, row in ipairs(rows) do
         if row.kind ~= "input" and core.glob(glob, row.name) then
            groups[#groups + 1] = { name = row.name, kind = row.kind, shape = row.shape, parameters = row.parameters,
               state = state_of(row), norm = norm_of(row),
               lr = state_of(row) == "trained" and "x" .. ("%g"):format(row.lr_scale) or "-" }
         end
      end
      if #groups == 0 then
         core.error("name", ("net:summary: no layer matches %q"):format(glob))
      end
   else
      groups = merge_frozen(group(rows))
   end
   local lines, is_file = { { "layer", "output", "parameters", "state", "lr", "batch norm" } },
      require("graft.context").command == "inspect" -- which has no state of training: a recipe gives it one
   for _, g in ipairs(groups) do
      lines[#lines + 1] = { g.name, format.shape(g.shape), format.count(g.parameters), g.state, g.lr, g.norm }
   end
   for i = 1, is_file and #lines or 0 do
      lines[i] = { lines[i][1], lines[i][2], lines[i][3] }
   end
   local text = title(handles[self], is_file) .. "\n" .. format.columns(lines, "llrlll", "  ")
   if not glob then
      text = text .. (is_file and "\n  (--layers shows every layer)" or '\n  (net:summary("*") shows every layer)')
   end
   return text
end

function methods.eval()
   core.error("name", "net:eval() is not needed: net:forward, net:features and net:predict are always inference, and "
      .. "fit and trainer train")
end

function methods.train()
   core.error("name", "net:train() is not needed: graft.fit and graft.trainer train what is not frozen, everything else "
      .. "is inference")
end

local fields = {
   stages = function(handle)
      return handle:stages()
   end,
   head = function(handle)
      return handle:head()
   end,
   classes = function(handle)
      return handle:classes()
   end,
   name = function(handle)
      return handle:name()
   end,
   preprocessing = function(handle)
      return strict.table(handle:preprocessing(), "net.preprocessing")
   end,
}

Net.__index = function(self, key)
   if methods[key] then
      return methods[key]
   elseif fields[key] then
      return fields[key](handles[self])
   end
   local known = strict.keys(methods)
   table.move(strict.keys(fields), 1, 5, #known + 1, known)
   local near = core.nearest(tostring(key), known)
   core.error("name", ("a network has no %q%s"):format(tostring(key), near and ('; nearest: "%s"'):format(near) or ""),
      near)
end
Net.__newindex = function(_, key)
   core.error("name", ("net.%s cannot be set; a network is changed by its methods"):format(tostring(key)))
end
Net.__call = function(self, x)
   return self:forward(x)
end
Net.__tostring = function(self)
   return handles[self]:closed() and "network (closed)" or self:summary()
end
Net.__close = function(self)
   self:close()
end

network.methods = methods
network.fields = fields

-- --- loading ---

local function list_names(names)
   local shown = table.concat(names, ", ", 1, math.min(#names, 6))
   return #names > 6 and ("%s and %d more"):format(shown, #names - 6) or shown
end

-- The outputs of the classifier in the file: the first dimension of the head's weight.
local function outputs_of(spec, shapes, path)
   local shape = shapes[spec.head .. ".weight"]
   if not shape then
      core.error("file", ("%s looks like %s, but holds no classifier %s.weight"):format(path, spec.name, spec.head))
   end
   return shape[1]
end

local function load_weights(weights, path, options)
   local models = require "graft.models"
   local tensors = weights:tensors()
   if options.arch then
      models.spec(options.arch, "graft.load: arch")
   end
   local spec, shapes, map = models.recognise(tensors, options.arch)
   if not spec then
      local names = {}
      for i = 1, math.min(#tensors, 4) do
         names[i] = tensors[i].name
      end
      core.error("name", ("%s: no architecture that Graft knows has these %d tensors (%s ...); say arch=\"NAME\", one of %s")
         :format(path, #tensors, table.concat(names, ", "), table.concat(models.names, ", ")))
   end
   local outputs = outputs_of(spec, shapes, path)
   local net = models.build(spec, outputs, nil, true)
   local report = call(("%s as %s"):format(path, spec.name), weights.apply, weights, net,
      { map = map, allow_head = false, take = true })
   if options.classes then
      net:set_classes(options.classes)
   elseif outputs == 1000 then
      net:set_classes(models.imagenet_classes(spec.class_list))
   end
   return net, report
end

-- graft.load(path, {arch=, classes=, exact=}) -> net. A model file brings its architecture; of plain weights it is recognised.
function network.load(path, options)
   options = strict.options(options, "graft.load", { arch = "string", classes = { "table", "userdata" }, exact = "boolean" })
   if path == nil then
      core.error("option", "graft.load: no weights file given (--weights FILE); where to get some: graft help weights")
   end
   strict.check(path, "string", "graft.load: the path")
   options.classes = options.classes and network.class_list(options.classes, "graft.load")
   local context = require "graft.context"
   local weights <close> = core.weights(path)
   local sha256, metadata = weights:sha256(), weights:metadata()
   local handle, report
   if metadata["graft.network"] then
      handle = weights:model(true)
      if options.arch and options.arch ~= handle:name() then
         core.error("name", ("%s is a model of %s, not of %s; leave arch= out"):format(path, handle:name(), options.arch))
      end
      if options.classes then
         handle:set_classes(options.classes)
      end
      report = { missing = {}, unused = {}, mismatched = {} }
   else
      handle, report = load_weights(weights, path, options)
   end
   handle:set_source(path:match("[^/]+$"))
   paths[handle] = path
   if options.exact then
      handle:set_exact(true)
   end
   if context.command == nil or context.command == "run" then -- for the lock
      table.insert(context.weights, { file = path:match("[^/]+$"), sha256 = sha256,
         licence = metadata.licence or metadata.license or metadata["weights.licence"],
         source = metadata.source or metadata["weights.source"] })
   end
   if context.pack then
      require("graft.pack").note_weights(sha256, path)
   end
   context.reports[handle] = report
   if #report.unused > 0 and not context.quiet then
      context.note(("%s: %d tensors of the file are not used: %s"):format(path, #report.unused,
         list_names(report.unused)))
   end
   return network.wrap(handle)
end

return network
