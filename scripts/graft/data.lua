-- Data sets as recipes see them.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local context = require "graft.context"

local data = {}

local Data = { __name = "graft.data" }
local Set = { __name = "graft.set" }
local Batch = { __name = "graft.batch" }
local handles = setmetatable({}, { __mode = "k" })
local sources = setmetatable({}, { __mode = "k" }) -- data set -> {make = function(classes), path =}

function data.is(value)
   return getmetatable(value) == Data
end

function data.is_set(value)
   return getmetatable(value) == Set
end

function data.handle(value, who)
   local handle = handles[value]
   if not handle or not (data.is(value) or data.is_set(value)) then
      core.error("option", ("%s: expected a data set (graft.data.folder), got %s"):format(who, type(value)))
   end
   return handle
end

-- --- augmentations ---

local presets = {
   none = {},
   light = { { kind = "random_resized_crop", scale = { 0.5, 1 } }, { kind = "hflip" } },
   standard = { { kind = "random_resized_crop" }, { kind = "hflip" } },
}

-- A preset's name or a list of graft.augment values, as the bindings take them.
function data.augment(value, who)
   if value == nil then
      return {}
   elseif type(value) == "string" then
      if not presets[value] then
         core.error("option", ('%s: augment must be "none", "light", "standard" or a list, got %q'):format(who, value),
            core.nearest(value, strict.keys(presets)))
      end
      return presets[value]
   end
   local descriptions, list = require "graft.descriptions", {}
   for i, item in ipairs(strict.list(value, "any", who .. ": augment")) do
      list[i] = descriptions.fields(item, "augment", who)
   end
   return list
end

-- --- batches ---

local batch_fields = {
   files = function(b)
      return b:files()
   end,
   classes = function(b)
      return b:classes()
   end,
   epoch = function(b)
      return b:epoch()
   end,
}
local batch_handles = setmetatable({}, { __mode = "k" })
local batch_methods = {
   input = function(self, net)
      return batch_handles[self]:input(require("graft.network").handle(net, "b:input"))
   end,
}

Batch.__index = function(self, key)
   if batch_methods[key] then
      return batch_methods[key]
   elseif batch_fields[key] then
      return batch_fields[key](batch_handles[self])
   elseif key == "columns" then
      return nil
   end
   core.error("name", ("a batch has no %q; it has files, classes, epoch and input(net)"):format(tostring(key)))
end

Batch.__tostring = function(self)
   local handle = batch_handles[self]
   local ok, count = pcall(handle.count, handle)
   return ok and ("batch of %s, epoch %d"):format(format.plural(count, "photo"), handle:epoch()) or "batch"
end

-- The surface of a bindings' batch.
function data.wrap_batch(handle)
   local batch = setmetatable({}, Batch)
   batch_handles[batch] = handle
   return batch
end

local batch_keys = { net = "table", batch_size = "integer", shuffle = "boolean", epoch = "integer",
   augment = { "string", "table" }, drop_last = "boolean", size = "integer" }

-- for x, y, b in set:batches{...}: the loop's fourth value ends the prefetch on break or error.
local function batches(self, options)
   options = strict.options(options, "set:batches", batch_keys)
   options.net = options.net and require("graft.network").handle(options.net, "set:batches: net") or nil
   options.augment = data.augment(options.augment, "set:batches")
   options.batch_size = options.batch_size or 32
   options.epoch = options.epoch or 1
   options.fit = core.fit()
   options.seed = core.seed()
   local step, state, control, closing = handles[self]:batches(options)
   return function(s, c)
      core.check_interrupt()
      local x, y, b = step(s, c)
      if x == nil then
         return nil
      end
      return x, y, data.wrap_batch(b)
   end, state, control, closing
end

-- --- sets ---

local function wrap_set(handle)
   local set = setmetatable({}, Set)
   handles[set] = handle
   return set
end

-- Positions of `per_class` samples of each class, drawn by `seed`.
local function sample(set, per_class, seed)
   local by_class, order = {}, {}
   for i = 1, set:count() do
      local class = set:at(i).class
      if not class then
         core.error("data", "take{per_class=} needs one class a photo; this set has several labels")
      end
      if not by_class[class] then
         by_class[class] = {}
         order[#order + 1] = class
      end
      table.insert(by_class[class], i)
   end
   local indices = {}
   for number, class in ipairs(order) do
      local positions = by_class[class]
      local shuffled = core.shuffle(#positions, seed, number, 0)
      for i = 1, math.min(per_class, #positions) do
         indices[#indices + 1] = positions[shuffled[i]]
      end
   end
   table.sort(indices)
   return indices
end

local take_keys = { per_class = "integer", seed = "integer" }

local function taken(handle, options, who)
   options = strict.options(options, who, take_keys)
   if not options.per_class or options.per_class < 1 then
      core.error("option", who .. ": expected per_class = N, at least 1")
   end
   return handle:take(sample(handle, options.per_class, options.seed or core.seed()))
end

local set_methods = {
   batches = batches,
   take = function(self, options)
      return wrap_set(taken(handles[self], options, "set:take"))
   end,
}

Set.__index = function(self, key)
   if math.type(key) == "integer" then
      if key < 1 or key > handles[self]:count() then
         return nil
      end
      return strict.table(handles[self]:at(key), "a sample", { "class", "classes" })
   elseif set_methods[key] then
      return set_methods[key]
   end
   core.error("name", ("a set has no %q; it has batches{...}, take{...}, set[i] and #set"):format(tostring(key)))
end
Set.__len = function(self)
   return handles[self]:count()
end
Set.__tostring = function(self)
   return format.plural(#self, "photo")
end

-- --- data sets ---

local function wrap(handle, source)
   local d = setmetatable({}, Data)
   handles[d], sources[d] = handle, source
   context.data = context.data or {}
   table.insert(context.data, handle)
   return d
end

-- The same, and aloud what its user may not expect; once for all that is made of it later.
local function opened(handle, source)
   local skipped = #handle:skipped()
   if skipped > 0 then
      context.note(("%s: %s skipped (data.skipped lists them)"):format(handle:name(),
         format.plural(skipped, "file")))
   end
   local fraction, unasked = handle:split()
   if unasked then
      context.note(("%s: no folder for validation, so %g %% of each class is held out (val = %g)"):format(handle:name(),
         100 * fraction, fraction))
   end
   return wrap(handle, source)
end

-- The same data with its classes in another order; nil when it cannot be listed again.
function data.reordered(d, classes)
   local source = sources[d]
   return wrap(source.make(classes), source)
end

local function require_path(path, who, what, flag)
   if path == nil then
      core.error("option", ("%s: no %s given%s"):format(who, what, context.mode == "run" and (" (%s)"):format(flag)
         or context.mode == "plan" and (" (%s)"):format(flag) or ""))
   end
   return strict.check(path, "string", who .. ": the " .. what)
end

local common = { val = "number", classes = { "table", "userdata" }, size = "integer", on_bad = "string",
   max_skip = "number" }

local function constructor(name, extra, flag, what)
   local who, keys = "graft.data." .. name, {}
   for key, value in pairs(common) do
      keys[key] = value
   end
   for key, value in pairs(extra) do
      keys[key] = value
   end
   return function(path, options)
      require_path(path, who, what, flag)
      options = strict.options(options, who, keys)
      if options.classes then
         options.classes = require("graft.network").class_list(options.classes, who)
      end
      local function make(classes)
         local copy = {}
         for key, value in pairs(options) do
            copy[key] = value
         end
         copy.classes = classes or options.classes
         return core["data_" .. name](path, copy)
      end
      return opened(make(), { make = make, path = path })
   end
end

data.folder = constructor("folder", {}, "--data DIR", "folder of photos")
data.csv = constructor("csv", { image = "string", label = "string", labels = { "string", "table" },
   separator = "string", split = "string" }, "--csv FILE", "CSV file")
data.idx = constructor("idx", { names = "table" }, "--data DIR", "folder of IDX files")

-- graft.data.list{ {image=, class=}, ... }
function data.list(samples, options)
   strict.check(samples, "table", "graft.data.list")
   options = strict.options(options, "graft.data.list", common)
   local function make(classes)
      local copy = {}
      for key, value in pairs(options) do
         copy[key] = value
      end
      copy.classes = classes or options.classes
      return core.data_list(samples, copy)
   end
   return opened(make(), { make = make, path = "list" })
end

local data_methods = {
   take = function(self, options)
      local handle = handles[self]
      local train = taken(handle:set("train"), options, "data:take")
      return wrap(handle:with(train), sources[self])
   end,
}
local data_fields = {
   classes = function(h)
      return h:classes()
   end,
   counts = function(h)
      return strict.table(h:counts(), "data.counts")
   end,
   skipped = function(h)
      return h:skipped()
   end,
   train = function(h)
      return wrap_set(h:set("train"))
   end,
   val = function(h)
      return wrap_set(h:set("val"))
   end,
   test = function(h)
      return wrap_set(h:set("test"))
   end,
}

Data.__index = function(self, key)
   if data_fields[key] then
      return data_fields[key](handles[self])
   elseif data_methods[key] then
      return data_methods[key]
   end
   local known = strict.keys(data_fields)
   known[#known + 1] = "take"
   local near = core.nearest(tostring(key), known)
   core.error("name", ("data has no %q%s"):format(tostring(key), near and ('; nearest: "%s"'):format(near)
      or "; it has " .. table.concat(known, ", ")), near)
end

Data.__tostring = function(self)
   local handle = handles[self]
   local counts, words = handle:counts(), {}
   local classes = handle:classes()
   for i = 1, math.min(#classes, 12) do
      words[i] = ("%s %s"):format(classes[i], format.count(counts[classes[i]]))
   end
   local skipped = #handle:skipped()
   return ("%s: %s train, %s val; %s: %s%s%s"):format(handle:name(), format.count(handle:set("train"):count()),
      format.count(handle:set("val"):count()), format.plural(#classes, "class", "classes"),
      table.concat(words, ", "), #classes > 12 and " ..." or "",
      skipped > 0 and ("; %s skipped (d.skipped)"):format(format.plural(skipped, "file")) or "")
end

-- The class of a photo (several: joined) in the data sets that were opened, the latest first; nil when none has it.
function data.class_of(file)
   for i = #(context.data or {}), 1, -1 do
      for _, name in ipairs { "train", "val", "test" } do
         local set = context.data[i]:set(name)
         for position = 1, set:count() do
            local photo = set:at(position)
            if photo.file == file then
               return photo.class or table.concat(photo.classes, ", ")
            end
         end
      end
   end
end

return data
