-- Tab completion: names, fields and methods of values, layers of networks, topics of help, files.

local core = require "graft.core"
local format = require "graft.format"
local reference = require "graft.reference"

local complete = {}

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
   "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

-- Methods of networks that take names of layers.
local takes_layers = { freeze = true, unfreeze = true, reinit = true, lr_scale = true, cut = true, add_aux = true,
   remove_aux = true, features = true, layers = true, summary = true }

-- The value that a path such as `graft.data` or `d.train` has now; nil when there is none.
local function value_of(path, env)
   local value = env
   for name in path:gmatch("[^%.]+") do
      local ok, found = pcall(function()
         return value[name]
      end)
      if not ok or found == nil then
         return nil
      end
      value = found
   end
   return value
end

local function name_of_type(value)
   local meta = getmetatable(value)
   if type(value) == "userdata" and meta == false then
      return "graft.tensor"
   end
   return type(meta) == "table" and rawget(meta, "__name") or nil
end

-- Fields after `value.`, or methods after `value:`.
local function members(value, method)
   if type(value) == "string" then
      value = string
   end
   local names = reference.members(name_of_type(value), method and ":" or ".")
   if type(value) == "table" and not (method and #names > 0) then
      for key in pairs(value) do
         if type(key) == "string" and key:find("^[%a_][%w_]*$") then
            names[#names + 1] = key
         end
      end
   end
   return names
end

local function layer_names(net)
   local names = { "*", "body", "head", "aux" }
   for _, stage in ipairs(net.stages) do
      names[#names + 1] = stage
   end
   for name in net:layers() do
      names[#names + 1] = name
   end
   return names
end

-- Files whose name begins as `text` does; folders end with "/".
local function files(text)
   local folder, base = text:match("^(.*/)([^/]*)$")
   folder, base = folder or "", base or text
   local ok, list = pcall(core.list, folder == "" and "." or folder)
   local names = {}
   for _, name in ipairs(ok and list or {}) do
      if name:sub(1, #base) == base then
         local stat = core.stat(folder .. name)
         names[#names + 1] = folder .. name .. (stat and stat.kind == "folder" and "/" or "")
      end
   end
   return names
end

-- Where the text ends inside a string that is still open: what is before the quote, what is inside, and the quote.
local function open_string(text)
   local quote, start
   local i = 1
   while i <= #text do
      local c = text:sub(i, i)
      if quote and c == "\\" then
         i = i + 1
      elseif c == quote then
         quote = nil
      elseif not quote and (c == '"' or c == "'") then
         quote, start = c, i
      end
      i = i + 1
   end
   if quote then
      return text:sub(1, start - 1), text:sub(start + 1), quote
   end
end

local function in_string(before, inside, quote, env)
   local names
   local path, method = before:match("([%a_][%w_%.]*):([%a_][%w_]*)%s*[%({][^%(%)]*$")
   if not path then
      path, method = before:match("([%a_][%w_%.]*):([%a_][%w_]*)%s*$")
   end
   local subject = path and value_of(path, env)
   if subject and takes_layers[method] and name_of_type(subject) == "graft.network" then
      names = layer_names(subject)
   elseif before:find("%f[%w_]help%s*%(?%s*$") then
      names = require("graft.commands.help").names()
   else
      return files(inside), inside, quote
   end
   return names, inside, quote
end

-- What the text before the cursor could go on with: candidates, the part of them that is there, what ends a whole one.
local function candidates(text, env)
   local before, inside, quote = open_string(text)
   if before then
      return in_string(before, inside, quote, env)
   end
   local path, separator, part = text:match("([%a_][%w_%.]*)([%.:])([%w_]*)$")
   if path then
      local value = value_of(path, env)
      return value ~= nil and members(value, separator == ":") or {}, part, ""
   end
   if text:find(":[%w_]*$") or text:find("[^%.]%.[%w_]*$") then
      return {}, "", "" -- after an expression that would have to be run
   end
   part = text:match("[%a_][%w_]*$") or ""
   local names = { table.unpack(keywords) }
   for name in pairs(env) do
      if type(name) == "string" then
         names[#names + 1] = name
      end
   end
   return names, part, ""
end

local function common_start(names)
   local start = names[1]
   for i = 2, #names do
      while names[i]:sub(1, #start) ~= start do
         start = start:sub(1, -2)
      end
   end
   while not utf8.len(start) do -- never half a character
      start = start:sub(1, -2)
   end
   return start
end

local MAX_ROWS = 20

-- Names side by side in as many columns as fit.
local function side_by_side(names, width)
   local most = 1
   for i, name in ipairs(names) do
      names[i] = name:match("([^/]+/?)$") or name
      most = math.max(most, #names[i])
   end
   local count = math.max(1, width // (most + 2))
   local height = (#names + count - 1) // count
   local rows, shown = {}, math.min(#names, MAX_ROWS * count)
   height = math.min(height, MAX_ROWS)
   for i = 1, shown do
      local row, name = (i - 1) % height + 1, names[i]
      rows[row] = rows[row] or {}
      table.insert(rows[row], name)
   end
   return format.columns(rows) .. (shown < #names and ("\n... %d more"):format(#names - shown) or "")
end

-- `text`: the line before the cursor. Returns what to insert, and what to show below the line or nil.
function complete.line(text, env, width)
   if not text:find("%S") then
      return "   " -- an indented line
   end
   local all, part, ending = candidates(text, env)
   local names, seen = {}, {}
   for _, name in ipairs(all) do
      if name:sub(1, #part) == part and not seen[name] and (part ~= "" or not name:find("^_")) then
         names[#names + 1], seen[name] = name, true
      end
   end
   table.sort(names)
   if #names == 0 then
      return ""
   elseif #names == 1 then
      return names[1]:sub(#part + 1) .. (names[1]:sub(-1) ~= "/" and ending or "")
   end
   local more = common_start(names):sub(#part + 1)
   return more, more == "" and side_by_side(names, width) or nil
end

return complete
