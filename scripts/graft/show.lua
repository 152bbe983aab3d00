-- Values as the prompt prints them: short, sorted, and never more than a screenful of one table.

local core = require "graft.core"

local show = {}

local MAX_DEPTH, MAX_ENTRIES = 2, 20

local function has_text(value)
   local meta = type(value) == "table" and getmetatable(value)
   return type(meta) == "table" and meta.__tostring ~= nil
end

-- {class=, p=} pairs, as net:predict gives them
local function is_prediction(value)
   if type(value) ~= "table" or rawlen(value) == 0 then
      return false
   end
   for i = 1, rawlen(value) do
      local item = rawget(value, i)
      if type(item) ~= "table" or type(rawget(item, "class")) ~= "string" or type(rawget(item, "p")) ~= "number" then
         return false
      end
   end
   return true
end

local function prediction(value)
   local words = {}
   for i, item in ipairs(value) do
      words[i] = ("%s %.2f"):format(core.printable(item.class), item.p)
   end
   return table.concat(words, "   ")
end

local function key_before(a, b)
   local kind_a, kind_b = type(a), type(b)
   if kind_a ~= kind_b then
      return kind_a < kind_b
   elseif kind_a == "number" or kind_a == "string" then
      return a < b
   end
   return tostring(a) < tostring(b)
end

-- Keys outside of the list part, in an order that does not change.
local function other_keys(t, length)
   local keys = {}
   for key in pairs(t) do
      if not (math.type(key) == "integer" and key >= 1 and key <= length) then
         keys[#keys + 1] = key
      end
   end
   table.sort(keys, key_before)
   return keys
end

local function key_text(key)
   if type(key) == "string" then
      return key:match("^[%a_][%w_]*$") and key or ('["%s"]'):format(core.printable(key))
   end
   return "[" .. tostring(key) .. "]"
end

local render

-- What stands between the braces: one string an entry.
local function entries(t, depth, width)
   local parts, length = {}, rawlen(t)
   for i = 1, math.min(length, MAX_ENTRIES) do
      parts[i] = render(rawget(t, i), depth + 1, width)
   end
   if length > MAX_ENTRIES then
      parts[#parts + 1] = ("... %d more"):format(length - MAX_ENTRIES)
   end
   local keys = other_keys(t, length)
   for i = 1, math.min(#keys, 3 * MAX_ENTRIES) do
      local key = keys[i]
      local value = rawget(t, key)
      if value == nil then -- it has its own pairs
         value = t[key]
      end
      parts[#parts + 1] = key_text(key) .. " = " .. render(value, depth + 1, width)
   end
   if #keys > 3 * MAX_ENTRIES then
      parts[#parts + 1] = ("... %d more"):format(#keys - 3 * MAX_ENTRIES)
   end
   return parts
end

local function table_text(t, depth, width)
   if next(t) == nil and not getmetatable(t) then
      return "{}"
   elseif depth > MAX_DEPTH then
      return "{...}"
   end
   local parts = entries(t, depth, width)
   local line, long = table.concat(parts, ", "), false
   for _, part in ipairs(parts) do
      long = long or part:find("\n", 1, true)
   end
   if #parts == 0 then
      return "{}"
   elseif not long and #line + 4 + 2 * depth <= width then
      return "{ " .. line .. " }"
   end
   local indent = ("  "):rep(depth + 1)
   return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function render(value, depth, width)
   if type(value) == "function" then
      return "function"
   end
   if type(value) == "string" then
      return ('"%s"'):format(core.printable(value))
   elseif type(value) ~= "table" or has_text(value) then
      local first, rest = tostring(value):match("^([^\n]*)(.*)$")
      return rest ~= "" and first .. " ..." or first
   elseif is_prediction(value) then
      return "{ " .. prediction(value) .. " }"
   end
   return table_text(value, depth, width)
end

-- The text of one value. `width`: columns of the terminal.
function show.value(value, width)
   if type(value) ~= "table" or has_text(value) then
      return tostring(value)
   elseif is_prediction(value) then
      return "  " .. prediction(value)
   elseif rawget(value, "confusion") and rawget(value, "accuracy") then
      return (require("graft.report").text(value):gsub("\n$", ""))
   end
   if is_prediction(rawget(value, 1)) then
      local lines = {}
      for i, item in ipairs(value) do
         lines[i] = is_prediction(item) and "  " .. prediction(item) or render(item, 1, width)
      end
      return table.concat(lines, "\n")
   end
   return table_text(value, 0, width)
end

-- The text of several results: side by side when they are short words, else one a line.
function show.values(values, width)
   local texts, apart = {}, false
   for i = 1, values.n do
      texts[i] = show.value(values[i], width)
      apart = apart or type(values[i]) == "table" or texts[i]:find("\n", 1, true)
   end
   return table.concat(texts, apart and "\n" or "\t")
end

return show
