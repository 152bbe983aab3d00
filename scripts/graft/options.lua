-- The options that a recipe declares with graft.options{...}, and reading them from a command line.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"

local options = {}

-- Options of every command, read before the recipe runs.
options.common = {
   seed = { type = "integer", help = "seed of every random stream" },
   threads = { type = "integer", min = 1, help = "threads (default: all processors)" },
   out = { type = "folder", help = "run folder (default runs/RECIPE-N)" },
   resume = { type = "boolean", help = "go on with an interrupted run in --out" },
   json = { type = "boolean", help = "one JSON document on stdout" },
   quiet = { type = "boolean", help = "no progress" },
   trace = { type = "boolean", help = "tracebacks with errors" },
   help = { type = "boolean" },
   trust = { type = "boolean", help = "outside the sandbox: with all your rights, so for recipes of your own" },
   sandbox = { type = "boolean" }, -- as it is without it
   read = { type = "string", value = "PATH", help = "another file or folder that the recipe may read; may be repeated" },
   max_memory = { type = "string", value = "SIZE", help = "limit of the sandbox (default three quarters of the memory)" },
   max_time = { type = "string", value = "TIME", help = "limit of the sandbox, as 90s, 10m, 24h or 7d (default 24h)" },
   max_disk = { type = "string", value = "SIZE", help = "limit of the run folder (default half of what is free)" },
}
local of_runs = { "out", "resume", "seed", "threads", "json", "quiet", "trace", "trust", "read", "max_memory", "max_time",
   "max_disk" } -- as help lists them
local of_commands = { "threads", "json", "quiet", "trace" }

local words = { folder = "DIR", file = "FILE", integer = "N", number = "X", string = "TEXT", choice = "CHOICE" }

-- A mistake on the command line: exit status 2.
function options.usage(message, near)
   core.error("option", message, near, true)
end

local function flag(name)
   return "--" .. name:gsub("_", "-")
end

-- Turns the text of a value into the declared type.
local function convert(text, declared, name)
   local kind = declared.type
   if kind == "integer" or kind == "number" then
      local value = tonumber(text)
      if kind == "integer" then
         value = value and math.tointeger(value)
      end
      if not value or value ~= value or value == math.huge or value == -math.huge then
         options.usage(("%s: expected %s, got %q"):format(flag(name), kind == "integer" and "a whole number"
            or "a number", text))
      end
      if (declared.min and value < declared.min) or (declared.max and value > declared.max) then
         options.usage(("%s: expected %s, got %s"):format(flag(name), declared.min and declared.max
            and ("%s to %s"):format(declared.min, declared.max) or declared.min and declared.min .. " or more"
            or "at most " .. declared.max, text))
      end
      return value
   elseif kind == "boolean" then
      if text == "true" or text == "yes" or text == "1" then
         return true
      elseif text == "false" or text == "no" or text == "0" then
         return false
      end
      options.usage(("%s: expected true or false, got %q"):format(flag(name), text))
   elseif kind == "choice" then
      for _, choice in ipairs(declared.choices) do
         if choice == text then
            return text
         end
      end
      local near = core.nearest(text, declared.choices)
      options.usage(("%s: expected one of %s, got %q%s"):format(flag(name), table.concat(declared.choices, ", "), text,
         near and ('; nearest: "%s"'):format(near) or ""), near)
   end
   return text
end

-- Reads "--name value" and "--name=value" from `args` (a list). `types` maps names to a declaration {type=...}.
-- Returns the values and the arguments that are no options. `take` false leaves unknown options in the rest.
function options.read(args, types, who, take)
   local values, rest, i = {}, {}, 1
   while i <= #args do
      local arg = args[i]
      local name, value = arg:match("^%-%-([%w][%w%-_]*)=(.*)$")
      name = name or arg:match("^%-%-([%w][%w%-_]*)$")
      local key = name and name:gsub("-", "_")
      local declared = key and types[key]
      if arg == "--" then
         table.move(args, i + 1, #args, #rest + 1, rest)
         break
      elseif not name then
         rest[#rest + 1] = arg
      elseif declared then
         if not value and declared.type == "boolean" then
            value = "true"
            if args[i + 1] == "true" or args[i + 1] == "false" then
               value, i = args[i + 1], i + 1
            end
         elseif not value then
            i = i + 1
            value = args[i]
            if not value then
               options.usage(("%s needs a value (%s)"):format(flag(key), words[declared.type] or "VALUE"))
            end
         end
         values[key] = convert(value, declared, key)
      elseif take == false then
         rest[#rest + 1] = arg
         if not value and args[i + 1] and not args[i + 1]:match("^%-%-") then
            i = i + 1
            rest[#rest + 1] = args[i]
         end
      else
         options.unknown(name, types, who)
      end
      i = i + 1
   end
   return values, rest
end

function options.unknown(name, types, who)
   local known = {}
   for _, key in ipairs(strict.keys(types)) do
      known[#known + 1] = (key:gsub("_", "-"))
   end
   local near = core.nearest(name, known)
   local hint = "it has: --" .. table.concat(known, " --")
   if near then
      local declared = types[(near:gsub("-", "_"))]
      hint = ("nearest: --%s (%s%s)"):format(near, declared.type,
         declared.default ~= nil and ", default " .. tostring(declared.default) or "")
   elseif #known == 0 then
      hint = "it declares none"
   end
   options.usage(("%s has no option --%s; %s"):format(who, name, hint), near)
end

local types_of_values = { string = "string", boolean = "boolean" }
local declaration_keys = { type = "string", default = "any", help = "string", choices = "table", min = "number",
   max = "number" }
local known_types = { "boolean", "choice", "file", "folder", "integer", "number", "string" }

-- One declaration: a table with `type`, or a plain default.
local function declare(name, value)
   if type(name) ~= "string" or not name:match("^%a[%w_]*$") then
      core.error("option", ("graft.options: %q is not a name for an option (letters, digits, _)"):format(tostring(name)))
   end
   if options.common[name] then
      core.error("option", ("graft.options: --%s belongs to graft itself; choose another name"):format(name))
   end
   if type(value) == "number" then
      return { type = math.type(value) == "integer" and "integer" or "number", default = value }
   elseif types_of_values[type(value)] then
      return { type = types_of_values[type(value)], default = value }
   end
   local declared = strict.options(value, "graft.options: " .. name, declaration_keys)
   if declared.choices then
      declared.type = declared.type or "choice"
   end
   local near = declared.type and core.nearest(declared.type, known_types)
   if not declared.type or not words[declared.type] and declared.type ~= "boolean" then
      core.error("option", ("graft.options: %s: type must be one of %s%s"):format(name, table.concat(known_types, ", "),
         near and ('; nearest: "%s"'):format(near) or ""), near)
   end
   if declared.type == "choice" and not declared.choices then
      core.error("option", ("graft.options: %s: a choice needs choices = {...}"):format(name))
   end
   return declared
end

-- One row of help for each of `names`: "--seed N", what it does.
local function help_rows(rows, declared, names)
   for _, name in ipairs(names) do
      local d = declared[name]
      local notes = {}
      if d.help then
         notes[#notes + 1] = d.help
      end
      if d.choices then
         notes[#notes + 1] = "one of " .. table.concat(d.choices, ", ")
      end
      if d.default ~= nil then
         notes[#notes + 1] = "default " .. tostring(d.default)
      end
      local value = d.value or words[d.type]
      rows[#rows + 1] = { flag(name) .. (value and " " .. value or ""), table.concat(notes, "; ") }
   end
   return rows
end

-- The options of a recipe and of every run. Without `declared`: of every run alone.
function options.recipe_help(what, who, declared)
   local rows = help_rows({}, declared or {}, strict.keys(declared or {}))
   return ("usage: graft %s %s [OPTIONS]\n\n%s\n%s"):format(what, who,
      declared and "options of this recipe, then of every recipe" or "options of every recipe",
      format.columns(help_rows(rows, options.common, of_runs), "ll", "  "))
end

-- The options of a command that runs no recipe.
function options.command_help(declared)
   return format.columns(help_rows(help_rows({}, declared, strict.keys(declared)), options.common, of_commands), "ll", "  ")
end

-- graft.options{...}: declares, reads the command line that came with the recipe, and returns the values.
-- `context` is the running command: {who=, args=list, help=boolean, what="run" or "plan", declared=nil}.
function options.declare(table_of_options, context)
   if context.declared then
      core.error("option", "graft.options: a recipe declares its options once")
   end
   strict.check(table_of_options, "table", "graft.options")
   local declared = {}
   for name, value in pairs(table_of_options) do
      declared[name] = declare(name, value)
   end
   context.declared = declared
   if context.help then
      require("graft.context").finish { exit = 0, text = options.recipe_help(context.what, context.who, declared) }
   end
   local given, rest = options.read(context.args, declared, context.who)
   if rest[1] then
      options.usage(("%s takes no argument %q; options look like --name value"):format(context.who, rest[1]))
   end
   local values, optional = {}, {}
   for name, d in pairs(declared) do
      values[name] = given[name]
      if values[name] == nil then
         values[name] = d.default
      end
      optional[#optional + 1] = name
   end
   context.values = values
   return strict.table(values, "opt", optional)
end

return options
