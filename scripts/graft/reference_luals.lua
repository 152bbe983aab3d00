-- The reference as a stub with types for the Lua language server (LuaCATS annotations): `graft help --luals`.

local core = require "graft.core"
local reference = require "graft.reference"
local strict = require "graft.strict"

local luals = {}

local head = [[
---@meta graft
-- Names and types of Graft %s for the Lua language server, made by `graft help --luals`. Put it where the server looks for
-- libraries (workspace.library); nothing is ever run from here.

---@alias graft.class_source string[]|graft.data
---@alias graft.loss_function fun(logits: graft.tensor, y: graft.tensor, b?: graft.batch): number, graft.tensor

---@class graft.optimizer
---@field kind string
---@field name string
---@field lr number
---@class graft.schedule
---@field kind string
---@field name string
---@class graft.augmentation
---@field kind string
---@field name string
]]

-- A text in one line; # keeps it apart from the type before it.
local function line(text)
   return (text:gsub("%s*\n%s*", " "):gsub("^[^%a]", "# %0"))
end

local function remark(default, text)
   if default == "required" or default == "" or default == nil then
      return line(text)
   end
   return line(("%s (default %s)"):format(text, default))
end

-- The class that an entry's `fields` describe: the one that its type or results name, else one of its own.
local function class_of_fields(entry)
   local kind = entry.type or ""
   for _, value in ipairs(entry.returns or {}) do
      kind = kind .. " " .. value[1]
   end
   kind = kind .. " " .. (entry.operator and entry.operator[3] or "")
   local last
   for name in kind:gmatch("graft%.[%w_]+") do
      last = name ~= "graft.tensor" and name or last
   end
   return last or "graft." .. entry.name:gsub("^graft%.", ""):gsub("[^%w]+", "_")
end

local function field_class(out, entry, done)
   local name = class_of_fields(entry)
   if done[name] then
      return name
   end
   done[name] = true
   out[#out + 1] = "\n---@class " .. name
   for _, field in ipairs(entry.fields) do
      out[#out + 1] = ("---@field %s %s %s"):format(field[1], field[2], line(field[3]))
   end
   return name
end

local function options_class(entry)
   return "graft." .. entry.name:gsub("^graft%.", ""):gsub(":", ".") .. ".options"
end

local function option_class(out, entry)
   if not entry.options or entry.name == "graft.options" then
      return
   end
   out[#out + 1] = "\n---@class " .. options_class(entry)
   for _, option in ipairs(entry.options) do
      out[#out + 1] = ("---@field %s%s %s %s"):format(option[1], option[3] == "required" and "" or "?", option[2],
         remark(option[3], option[4]))
   end
end

-- The annotations and the line of a function; `name` is how it is written in the stub.
local function function_of(out, entry, name)
   out[#out + 1] = ""
   for part in entry.text:gmatch("[^\n]+") do
      out[#out + 1] = "---" .. part
   end
   if entry.example then
      out[#out + 1] = "---```lua"
      for part in entry.example:gmatch("[^\n]+") do
         out[#out + 1] = "---" .. part
      end
      out[#out + 1] = "---```"
   end
   local names = {}
   local function add(argument, kind, optional, text)
      names[#names + 1] = argument
      local mark = optional and argument ~= "..." and "?" or ""
      out[#out + 1] = (("---@param %s%s %s %s"):format(argument, mark, kind, text):gsub(" $", ""))
   end
   local open = entry.arguments and #entry.arguments > 0 and entry.arguments[#entry.arguments][1] == "..."
   for i, argument in ipairs(entry.arguments or {}) do
      local kind = argument[2]
      if open and i == 1 then -- names may come in a table too, with the options
         kind = kind:gsub("^string$", "string|table")
      end
      local optional, following = argument[3] ~= "required" and argument[1] ~= "...", entry.arguments[i + 1]
      if optional and following and following[3] == "required" and following[1] ~= "..." then -- [name,] list
         kind, optional = kind .. "|" .. following[2], false
      elseif i > 1 and entry.arguments[i - 1][3] ~= "required" then
         optional = true
      elseif optional and entry.options and entry.name:find("^node:") then -- [name,] {...}
         kind = kind .. "|" .. options_class(entry) .. (entry.short and "|number|integer[]" or "")
      end
      add(argument[1], kind, optional, remark(argument[3], argument[4]))
   end
   if entry.name == "graft.options" then
      add("declared", "table<string, any>", false, "a default, or a table {type=, default=, help=, choices=, min=, max=}, by "
         .. "name")
   elseif entry.options and not open then
      local all = entry.name:find("^node:") and entry.arguments[1][3] ~= "required"
      if not all then
         all = true
         for _, option in ipairs(entry.options) do
            all = all and option[3] ~= "required"
         end
      end
      add("options", options_class(entry) .. (entry.short and "|number" or ""), all, "")
   end
   for _, overload in ipairs(entry.overloads or {}) do
      out[#out + 1] = "---@overload " .. overload
   end
   for _, value in ipairs(entry.returns or {}) do
      out[#out + 1] = ("---@return %s # %s"):format(value[1], line(value[2]))
   end
   out[#out + 1] = ("function %s(%s) end"):format(name, table.concat(names, ", "))
end

-- What stands above the local of a type: fields, operators, the call.
local function class_head(out, class, prefix, done)
   out[#out + 1] = "\n---@class " .. class
   for _, entry in ipairs(reference.entries()) do
      local name = entry.name:match("^" .. prefix .. "%.([%w_]+)$")
      local operator = entry.operator
      if name and entry.type then
         local kind = entry.fields and entry.type:gsub("^table", done.own[entry.name] or "table") or entry.type
         out[#out + 1] = ("---@field %s %s %s"):format(name, kind, line(entry.text))
      elseif operator and (entry.name:find("^%#?" .. prefix .. "%f[^%w]")) then
         if operator[1] == "index" then
            out[#out + 1] = ("---@field %s %s"):format(operator[2], operator[3])
         elseif operator[1] == "call" then
            out[#out + 1] = ("---@overload fun(%s): %s"):format(operator[2], operator[3])
         elseif operator[1] ~= "eq" and operator[1] ~= "lt" then
            for word in operator[1]:gmatch("%a+") do
               out[#out + 1] = ("---@operator %s%s: %s"):format(word, operator[2] ~= "" and "(" .. operator[2] .. ")" or "",
                  operator[3])
            end
         end
      end
   end
   if class == "graft.tensor" then
      out[#out + 1] = "---@operator unm: graft.tensor"
   elseif class == "graft.layer" then
      out[#out + 1] = "---@field forward function\n---@field backward? function"
   end
end

local function class(out, kind, prefix, done)
   class_head(out, kind, prefix, done)
   out[#out + 1] = "local " .. prefix .. " = {}"
   for _, entry in ipairs(reference.entries()) do
      local name = entry.name:match("^" .. prefix .. ":([%w_]+)$")
      if name then
         function_of(out, entry, prefix .. ":" .. name)
      end
   end
end

-- graft and the tables in it.
local function library(out)
   local tables = {}
   out[#out + 1] = "\n---@class graft"
   for _, entry in ipairs(reference.entries()) do
      local name = entry.name:match("^graft%.([%w_]+)$")
      if name and entry.type and not entry.type:find("^table") then
         out[#out + 1] = ("---@field %s %s %s"):format(name, entry.type, line(entry.text))
      elseif entry.name:match("^graft%.[%w_]+%.") then
         tables[entry.name:match("^(graft%.[%w_]+)%.")] = true
      end
   end
   out[#out + 1] = "local graft = {}"
   for _, name in ipairs(strict.keys(tables)) do
      local entry = reference.entry(name)
      out[#out + 1] = "\n---" .. entry.text:gsub("%s*\n%s*", " ")
      if not entry.type then -- it can be called as well
         out[#out + 1] = ("---@class %s_table\n---@overload fun(%s: %s): %s"):format(name, entry.arguments[1][1],
            entry.arguments[1][2], entry.returns[1][1])
      end
      out[#out + 1] = name .. " = {}"
   end
   for _, entry in ipairs(reference.entries()) do
      if entry.name:find("^graft%.") and not entry.type and not tables[entry.name] then
         function_of(out, entry, entry.name)
      end
   end
   out[#out + 1] = "\nreturn graft"
end

function luals.text()
   local out, done = { head:format(core.version) }, { own = {} }
   for _, entry in ipairs(reference.entries()) do
      option_class(out, entry)
      if entry.fields then
         done.own[entry.name] = field_class(out, entry, done)
      end
   end
   for _, kind in ipairs(strict.keys(reference.prefixes)) do
      if not done[kind] then
         class(out, kind, reference.prefixes[kind], done)
      end
   end
   library(out)
   return table.concat(out, "\n") .. "\n"
end

return luals
