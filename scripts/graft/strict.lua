-- Tables that refuse to be read wrongly: an unknown field raises, with the nearest right name.
--
-- A misspelt `epochs = opt.epoch` would otherwise be nil, vanish from the table, and the default would run unseen.

local core = require "graft.core"

local strict = {}

-- The string keys of a table, sorted: the only order that does not change between runs.
function strict.keys(t)
   local keys = {}
   for key in pairs(t) do
      if type(key) == "string" then
         keys[#keys + 1] = key
      end
   end
   table.sort(keys)
   return keys
end

local function unknown(what, key, known)
   local near = type(key) == "string" and core.nearest(key, known) or nil
   local hint = near and ('; nearest: "%s"'):format(near) or ("; there is: " .. table.concat(known, ", "))
   core.error("name", ("%s has no %s%s"):format(what, type(key) == "string" and ('"%s"'):format(key) or tostring(key),
      hint), near)
end

-- Makes `t` raise on unknown string fields. `optional` lists fields that may be nil. Integer keys read nil as usual.
function strict.table(t, what, optional)
   local allowed = {}
   for _, key in ipairs(optional or {}) do
      allowed[key] = true
   end
   local meta = getmetatable(t) or {}
   meta.__index = function(self, key)
      if allowed[key] or math.type(key) == "integer" then
         return nil
      end
      local known = strict.keys(self)
      for _, name in ipairs(optional or {}) do
         known[#known + 1] = name
      end
      table.sort(known)
      unknown(what, key, known)
   end
   return setmetatable(t, meta)
end

-- Checks that `options` holds nothing but these keys: {name = "type" or {"type", ...}}. Returns a plain copy, so that
-- later changes by the caller do not matter. `who` is the function's name.
function strict.options(options, who, types)
   options = options == nil and {} or options
   if type(options) ~= "table" then
      core.error("option", ("%s: expected a table of options, got %s"):format(who, type(options)))
   end
   local copy, known = {}, strict.keys(types)
   for key, value in next, options do
      local wanted = types[key]
      if not wanted then
         local near = type(key) == "string" and core.nearest(key, known) or nil
         core.error("option", ("%s has no option %s; %s"):format(who,
            type(key) == "string" and ('"%s"'):format(key) or ("[%s]"):format(tostring(key)),
            near and ('nearest: "%s"'):format(near) or "it takes: " .. table.concat(known, ", ")), near)
      end
      copy[key] = strict.check(value, wanted, ("%s: option %s"):format(who, key))
   end
   return copy
end

-- The value, when it has one of the types ("integer" and "any" are types too); raises otherwise.
function strict.check(value, wanted, what)
   local list = type(wanted) == "table" and wanted or { wanted }
   for _, name in ipairs(list) do
      if name == "any" or type(value) == name then
         return value
      elseif name == "integer" and math.type(value) and math.tointeger(value) then
         return math.tointeger(value)
      end
   end
   core.error("option", ("%s: expected %s, got %s"):format(what, table.concat(list, " or "),
      type(value) == "number" and tostring(value) or type(value) == "string" and ('"%s"'):format(value)
         or type(value)))
end

-- The list part of a table as a plain list of values of one type. Metamethods are not asked: a table that answers every
-- index would never end.
function strict.list(value, wanted, what)
   strict.check(value, "table", what)
   local list = {}
   for i = 1, rawlen(value) do
      list[i] = strict.check(rawget(value, i), wanted, ("%s: entry %d"):format(what, i))
   end
   return list
end

return strict
