-- Optimisers, schedules and augmentations as plain values: they hold no state, so one can serve several fits.
-- Names and defaults are PyTorch's; `lr` has no default.

local core = require "graft.core"
local strict = require "graft.strict"

local number, boolean = "number", "boolean"

-- name -> {group, {key = {type, default}}}; a key without a default is required.
local kinds = {
   sgd = { "optimizer", { lr = { number }, momentum = { number, 0 }, dampening = { number, 0 },
      weight_decay = { number, 0 }, nesterov = { boolean, false } } },
   adam = { "optimizer", { lr = { number }, betas = { "table", { 0.9, 0.999 } }, eps = { number, 1e-8 },
      weight_decay = { number, 0 } } },
   adamw = { "optimizer", { lr = { number }, betas = { "table", { 0.9, 0.999 } }, eps = { number, 1e-8 },
      weight_decay = { number, 0.01 } } },
   rmsprop = { "optimizer", { lr = { number }, alpha = { number, 0.99 }, eps = { number, 1e-8 },
      centered = { boolean, false },
      momentum = { number, 0 }, weight_decay = { number, 0 } } },
   constant = { "schedule", { warmup = { number, 0 } } },
   step = { "schedule", { every = { "integer" }, factor = { number, 0.1 }, warmup = { number, 0 } } },
   cosine = { "schedule", { floor = { number, 0 }, warmup = { number, 0 } } },
   one_cycle = { "schedule", { warmup = { number, 0.3 } } },
   hflip = { "augment", { p = { number, 0.5 } } },
   random_resized_crop = { "augment", { scale = { "table", { 0.08, 1 } }, ratio = { "table", { 3 / 4, 4 / 3 } } } },
   color_jitter = { "augment", { brightness = { number, 0.2 }, contrast = { number, 0.2 },
      saturation = { number, 0.2 }, hue = { number, 0 } } },
   rotation = { "augment", { degrees = { number, 10 } } },
   random_erasing = { "augment", { p = { number, 0.5 } } },
   mixup = { "augment", { alpha = { number, 0.2 } } },
}

local function show(value)
   if type(value) == "table" then
      return "{" .. table.concat(value, ", ") .. "}"
   end
   return type(value) == "number" and ("%g"):format(value) or tostring(value)
end

-- "sgd lr 0.01 momentum 0.9": what differs from the defaults
local function describe(name, values)
   local words, fields = { name }, kinds[name][2]
   for _, key in ipairs(strict.keys(fields)) do
      if fields[key][2] == nil or show(values[key]) ~= show(fields[key][2]) then
         words[#words + 1] = key .. " " .. show(values[key])
      end
   end
   return table.concat(words, " ")
end

-- The same as Lua, with other values for some keys: "graft.sgd { lr = 0.1, momentum = 0.9 }".
local function code(name, values)
   local words, fields = {}, kinds[name][2]
   for _, key in ipairs(strict.keys(fields)) do
      if fields[key][2] == nil or show(values[key]) ~= show(fields[key][2]) then
         words[#words + 1] = ("%s = %s"):format(key, (show(values[key]):gsub("^{(.*)}$", "{ %1 }")))
      end
   end
   return ("graft.%s%s { %s }"):format(kinds[name][1] == "augment" and "augment." or "", name, table.concat(words, ", "))
end

local function make(name)
   local group, fields = kinds[name][1], kinds[name][2]
   local who = "graft." .. (group == "augment" and "augment." or "") .. name
   local types = {}
   for key, field in pairs(fields) do
      types[key] = field[1]
   end
   return function(options)
      local given = strict.options(options, who, types)
      local values = { kind = group, name = name }
      for key, field in pairs(fields) do
         values[key] = given[key]
         if types[key] == "table" and given[key] then
            values[key] = strict.list(given[key], number, ("%s: option %s"):format(who, key))
         end
         if values[key] == nil then
            if field[2] == nil then
               core.error("option", ("%s: %s is required, for example %s{ %s = %s }"):format(who, key, who, key,
                  key == "lr" and "0.01" or "10"), key)
            end
            values[key] = field[2]
         end
      end
      if values.lr and not (values.lr > 0 and values.lr < math.huge) then
         core.error("option", ("%s: lr must be above 0, got %s; to leave layers as they are, freeze them with "
            .. 'net:freeze("...")'):format(who, show(values.lr)))
      end
      local text = describe(name, values)
      return setmetatable({}, {
         __index = function(_, key)
            if values[key] == nil then
               core.error("name", ("%s has no field %q"):format(who, tostring(key)))
            end
            return values[key]
         end,
         __newindex = function()
            core.error("option", ("%s{} is a description that cannot be changed; make a new one"):format(who))
         end,
         __pairs = function()
            return next, values
         end,
         __tostring = function()
            return text
         end,
         __name = "graft." .. group,
      })
   end
end

local descriptions = { optimizer = {}, schedule = {}, augment = {} }
for _, name in ipairs(strict.keys(kinds)) do
   local group = kinds[name][1]
   descriptions[group][name] = make(name)
end

-- Lua that makes this description, with other values for the keys of `changes`.
function descriptions.code(value, changes)
   local values = {}
   for key, field in pairs(value) do
      values[key] = field
   end
   for key, field in pairs(changes or {}) do
      values[key] = field
   end
   return code(values.name, values)
end

-- What the reference says of its options, by name: {name, type, default, text} with types and defaults of here, sorted.
function descriptions.options(name, texts)
   local list, fields = {}, kinds[name][2]
   for _, key in ipairs(strict.keys(fields)) do
      local kind, default = fields[key][1], fields[key][2]
      local shown = default == nil and "required" or show(default):gsub("^{(.*)}$", "{ %1 }")
      list[#list + 1] = { key, kind == "table" and "number[]" or kind, shown, texts[key] }
   end
   return list
end

-- The plain fields of a description of this group as the bindings take them.
function descriptions.fields(value, group, who)
   local meta = getmetatable(value)
   if type(meta) ~= "table" or meta.__name ~= "graft." .. group then
      core.error("option", ("%s: expected %s such as graft.%s{...}, got %s"):format(who, group,
         group == "optimizer" and "sgd" or group == "schedule" and "cosine" or "augment.hflip", type(value)))
   end
   local copy = {}
   for key, field in pairs(value) do
      copy[key] = field
   end
   copy.kind, copy.name = copy.name, nil
   return copy
end

return descriptions
