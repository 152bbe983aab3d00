-- The options that a recipe declares with graft.options{...}, and reading them from a command line.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"

local options = {}

-- Options of every command, read before the recipe runs.
options.common = {
   seed = { type = "integer", help = "seed of every random stream" },
   threads = { type = "integer", min = 1, max = core.most_threads, help = "threads (default: all processors)" },
   out = { type = "folder", help = "run folder (default runs/RECIPE-N)" },
   resume = { type = "boolean", help = "go on with an interrupted run in --out" },
   locked = { type = "file", help = "a recipe.lock; refuse (exit 3) where recipe, options, seed, weights or data are others" },
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
   for_verify = { type = "boolean" }, -- how graft verify starts a replay
}
options.of_plan = { layers = { type = "boolean", help = "every layer, not stages" } } -- no recipe can have these
local of_runs = { "out", "resume", "locked", "seed", "threads", "json", "quiet", "trace", "trust", "read", "max_memory",
   "max_time", "max_disk" } -- as help lists them
local of_commands = { "threads", "json", "quiet", "trace" }

local words = { folder = "DIR", file = "FILE", integer = "N", number = "X", string = "TEXT", choice = "CHOICE" }

-- A mistake on the command line: exit status 2.
function options.usage(message, near)
   core.error("option", message, near, true)
end

local function flag(name)
   return "--" .. name:gsub("_", "-")
end

-- "1 to 10", "1 or more", "at most 10"; nil without a range.
local function range_text(declared)
   local low, high = declared.min, declared.max
   return low and high and ("%s to %s"):format(low, high) or low and low .. " or more" or high and "at most " .. high or nil
end

local function outside(value, declared)
   return (declared.min and value < declared.min) or (declared.max and value > declared.max)
end

local function to_number(text, declared, name)
   local whole = declared.type == "integer"
   local value = tonumber(text)
   value = value and (whole and math.tointeger(value) or not whole and value + 0.0) or nil
   if not value or value ~= value or value == math.huge or value == -math.huge then
      options.usage(("%s: expected a %s, got %q"):format(flag(name), whole and "whole number" or "number", text))
   elseif outside(value, declared) then
      options.usage(("%s: expected %s, got %s"):format(flag(name), range_text(declared), text))
   end
   return value
end

local truths = { ["true"] = true, yes = true, ["1"] = true, ["false"] = false, no = false, ["0"] = false }

local function to_boolean(text, _, name)
   if truths[text] == nil then
      options.usage(("%s: expected true or false, got %q"):format(flag(name), text))
   end
   return truths[text]
end

local function to_choice(text, declared, name)
   for _, choice in ipairs(declared.choices) do
      if choice == text then
         return text
      end
   end
   local near = core.nearest(text, declared.choices)
   options.usage(("%s: expected one of %s, got %q%s"):format(flag(name), table.concat(declared.choices, ", "), text,
      near and ('; nearest: "%s"'):format(near) or ""), near)
end

-- What lies there is the business of whoever reads or writes it.
local function to_path(text, declared, name)
   if text == "" then
      options.usage(("%s: expected a %s, got an empty text"):format(flag(name), declared.type))
   end
   return text
end

local converters = { integer = to_number, number = to_number, boolean = to_boolean, choice = to_choice, file = to_path,
   folder = to_path, string = function(text)
      return text
   end }

-- Turns the text of a value into the declared type.
local function convert(text, declared, name)
   return converters[declared.type](text, declared, name)
end

-- "--no-flag" for the boolean `flag`: its name, else nil.
local function negated(key, types)
   local name = key:match("^no_(.+)$")
   return name and types[name] and types[name].type == "boolean" and name or nil
end

-- The text of an option's value: after "=", or the next word unless that is an option. Returns the index of the last word
-- that was used, too.
local function value_of(args, i, declared, key, value)
   local next_word = args[i + 1]
   if value then
      return value, i
   elseif declared.type == "boolean" then
      if next_word == "true" or next_word == "false" then
         return next_word, i + 1
      end
      return "true", i
   elseif not next_word or next_word:match("^%-%-") then
      options.usage(("%s needs a value (%s)%s"):format(flag(key), words[declared.type] or "VALUE", next_word
         and ("; one that begins with -- is written %s=%s"):format(flag(key), next_word) or ""))
   end
   return next_word, i + 1
end

-- Reads "--name value", "--name=value" and, for booleans, "--name" and "--no-name" from `args` (a list); the last of
-- several counts. `types` maps names to a declaration {type=...}. Returns the values and the arguments that are no options.
-- `take` false leaves unknown options in the rest.
function options.read(args, types, who, take)
   local values, rest, i = {}, {}, 1
   while i <= #args do
      local arg = args[i]
      local name, value = arg:match("^%-%-([%w][%w%-_]*)=(.*)$")
      name = name or arg:match("^%-%-([%w][%w%-_]*)$")
      local key = name and name:gsub("-", "_")
      if arg == "--" then
         table.move(args, i + 1, #args, #rest + 1, rest)
         break
      elseif not name then
         rest[#rest + 1] = arg
      elseif types[key] then
         value, i = value_of(args, i, types[key], key, value)
         values[key] = convert(value, types[key], key)
      elseif negated(key, types) then
         if value then
            options.usage(("--%s takes no value"):format(name))
         end
         values[negated(key, types)] = false
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

-- "integer, default 20"
local function describe(declared)
   return declared.type .. (declared.default ~= nil and ", default " .. tostring(declared.default) or "")
end

function options.unknown(name, types, who)
   local own, known = {}, {}
   for _, key in ipairs(strict.keys(types)) do
      own[#own + 1] = (key:gsub("_", "-"))
      known[#known + 1] = own[#own]
   end
   for _, key in ipairs(of_runs) do -- of every command, so that --thread is understood as well
      known[#known + 1] = key
   end
   local near = core.nearest(name, known)
   local hint = "it has: --" .. table.concat(own, " --")
   if near then
      local key = near:gsub("-", "_")
      hint = ("nearest: --%s (%s)"):format(near, describe(types[key] or options.common[key]))
   elseif #own == 0 then
      hint = "it declares none"
   end
   options.usage(("%s has no option --%s; %s"):format(who, name, hint), near)
end

-- --- what a recipe declares ---

local types_of_values = { string = "string", boolean = "boolean" }
local declaration_keys = { type = "string", default = "any", help = "string", choices = "table", min = "number",
   max = "number" }
local known_types = { "boolean", "choice", "file", "folder", "integer", "number", "string" }

local function bad(name, text, ...)
   core.error("option", ("graft.options: %s: "):format(name) .. text:format(...))
end

local function check_type(name, declared)
   declared.type = declared.type or declared.choices and "choice" or nil
   if not converters[declared.type] then
      local near = declared.type and core.nearest(declared.type, known_types)
      core.error("option", ("graft.options: %s: type must be one of %s%s"):format(name, table.concat(known_types, ", "),
         near and ('; nearest: "%s"'):format(near) or declared.type and (", got %q"):format(declared.type) or ""), near)
   end
end

local function check_choices(name, declared)
   if declared.type ~= "choice" then
      return declared.choices and bad(name, 'choices belong to type "choice", this is %q', declared.type)
   end
   local list = declared.choices and strict.list(declared.choices, "string", "graft.options: " .. name .. ": choices") or {}
   if #list == 0 then
      bad(name, "a choice needs choices = { ... }, a list of texts")
   end
   declared.choices = list
end

local function check_range(name, declared)
   local whole = declared.type == "integer"
   for _, key in ipairs { "min", "max" } do
      local bound = declared[key]
      if bound and not whole and declared.type ~= "number" then
         bad(name, "%s belongs to integers and numbers, this is a %s", key, declared.type)
      elseif bound and (bound ~= bound or whole and not math.tointeger(bound)) then
         bad(name, "%s must be a %s, got %s", key, whole and "whole number" or "number", bound)
      end
      declared[key] = bound and whole and math.tointeger(bound) or bound
   end
   if declared.min and declared.max and declared.min > declared.max then
      bad(name, "min %s is above max %s", declared.min, declared.max)
   end
end

local lua_types = { integer = "integer", number = "number", boolean = "boolean" }

-- The default must be what the command line could say.
local function check_default(name, declared)
   local value = declared.default
   if value == nil then
      return
   end
   value = strict.check(value, lua_types[declared.type] or "string", "graft.options: " .. name .. ": default")
   if value ~= value or value == math.huge or value == -math.huge then
      bad(name, "default %s is no number to work with", value)
   elseif outside(value, declared) then
      bad(name, "default %s is not %s", value, range_text(declared))
   elseif declared.type == "number" then
      value = value + 0.0
   elseif declared.type == "choice" then
      local found
      for _, choice in ipairs(declared.choices) do
         found = found or choice == value
      end
      if not found then
         bad(name, "default %q is not one of %s", value, table.concat(declared.choices, ", "))
      end
   end
   declared.default = value
end

-- One declaration: a table with `type`, or a plain default.
local function declare(name, value)
   if type(name) ~= "string" or not name:match("^%a[%w_]*$") then
      core.error("option", ("graft.options: %q is not a name for an option (letters, digits, _): name = default, or "
         .. "name = { type = ... }"):format(tostring(name)))
   elseif options.common[name] or options.of_plan[name] then
      core.error("option", ("graft.options: --%s belongs to graft itself; choose another name"):format(name))
   end
   if type(value) == "number" then
      value = { type = math.type(value) == "integer" and "integer" or "number", default = value }
   elseif types_of_values[type(value)] then
      value = { type = types_of_values[type(value)], default = value }
   elseif type(value) ~= "table" then
      bad(name, "expected a default or {type=, help=, default=}, got a %s", type(value))
   end
   local declared = strict.options(value, "graft.options: " .. name, declaration_keys)
   check_type(name, declared)
   check_choices(name, declared)
   check_range(name, declared)
   check_default(name, declared)
   return declared
end

-- --- help ---

local kinds = { integer = "whole number", number = "number" }

-- One row of help for each of `names`: "--seed N", what it does.
local function help_rows(rows, declared, names)
   for _, name in ipairs(names) do
      local d = declared[name]
      local notes = {}
      if d.help then
         notes[#notes + 1] = core.printable(d.help)
      end
      if d.choices then
         notes[#notes + 1] = "one of " .. core.printable(table.concat(d.choices, ", "))
      elseif kinds[d.type] and not options.common[name] then
         local range = range_text(d)
         notes[#notes + 1] = kinds[d.type] .. (range and ", " .. range or "")
      end
      local switch = d.type == "boolean" and d.default
      if d.default ~= nil and d.default ~= false then
         notes[#notes + 1] = "default " .. (switch and "on" or d.default == "" and "empty"
            or core.printable(tostring(d.default)))
      end
      local value = d.value or words[d.type]
      rows[#rows + 1] = { flag(switch and "no_" .. name or name) .. (value and " " .. value or ""),
         table.concat(notes, "; ") }
   end
   return rows
end

-- What a recipe says of itself: the first sentence of the comment that it begins with.
local function about(text, width)
   local lines = {}
   for line in (text or ""):gmatch("([^\n]*)\n") do
      local words_of_line = line:match("^%-%-+%s*(.-)%s*$")
      if not words_of_line or words_of_line == "" then
         break
      end
      lines[#lines + 1] = words_of_line
   end
   local all = core.printable(table.concat(lines, " "))
   return all ~= "" and table.concat(format.wrap(all:match("^(.-[%.!?])%s") or all, width), "\n") .. "\n\n" or ""
end

-- The options of a recipe and of every run. Without `declared`: of every run alone. `text`: the recipe.
function options.recipe_help(what, who, declared, text, width)
   width = width or format.width()
   local rows = help_rows({}, declared or {}, strict.keys(declared or {}))
   return ("usage: graft %s %s [OPTIONS]\n\n%s%s\n%s"):format(what, who, about(text, width),
      declared and next(declared) and "options of this recipe, then of every recipe" or "options of every recipe",
      format.table(help_rows(what == "plan" and help_rows(rows, options.of_plan, { "layers" }) or rows,
         options.common, of_runs), width, "  "))
end

-- The options of a command that runs no recipe.
function options.command_help(declared, width)
   return format.table(help_rows(help_rows({}, declared, strict.keys(declared)), options.common, of_commands),
      width or format.width(), "  ")
end

-- graft.options{...}: declares, reads the command line that came with the recipe, and returns the values.
-- `context` is the running command: {who=, args=list, help=boolean, what="run" or "plan", text=of the recipe, declared=nil}.
-- It gets values (of all options) and paths (names of those that say where something lies, sorted).
function options.declare(table_of_options, context)
   if context.declared then
      core.error("option", "graft.options: a recipe declares its options once")
   end
   strict.check(table_of_options, "table", "graft.options")
   local declared = {}
   for key in next, table_of_options do
      if type(key) ~= "string" then
         declare(key)
      end
   end
   for _, name in ipairs(strict.keys(table_of_options)) do -- sorted: of several mistakes always the same is told
      declared[name] = declare(name, table_of_options[name])
   end
   context.declared = declared
   if context.help then
      require("graft.context").finish { exit = 0, text = options.recipe_help(context.what, context.who, declared,
         context.text) }
   end
   local given, rest = options.read(context.args, declared, context.who)
   if rest[1] then
      options.usage(("%s takes no argument %q; options look like --name value"):format(context.who, rest[1]))
   end
   if require("graft.context").pack then
      require("graft.pack").fill_options(declared, given, convert)
   end
   local values, optional, paths = {}, {}, {}
   for name, d in pairs(declared) do
      values[name] = given[name]
      if values[name] == nil then
         values[name] = d.default
      end
      optional[#optional + 1] = name
      paths[#paths + 1] = values[name] and (d.type == "file" or d.type == "folder") and name or nil
   end
   table.sort(paths)
   context.values, context.paths = values, paths
   return strict.table(values, "opt", optional)
end

-- What the reference needs to list the options of commands.
options.listed = { flag = flag, words = words, runs = of_runs, commands = of_commands }

return options
