-- The command line: finds the command, runs it, turns errors into messages and exit statuses.
--
-- 0 done, 1 failed, 2 bad usage, 3 lock mismatch, 130/143 interrupted. Results go to stdout, progress to stderr.

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local progress = require "graft.progress"

local cli = {}

local commands = { -- name, arguments, what it does
   { "run", "RECIPE [OPTIONS]", "train as the recipe says" },
   { "plan", "RECIPE [OPTIONS]", "the same file and options; prints what training would do" },
   { "predict", "MODEL IMAGE...", "class names and probabilities" },
   { "eval", "MODEL DATA", "accuracy, per-class table, confusion matrix" },
   { "embed", "MODEL IMAGES --at LAYER --out FILE.npy", "features of photos" },
   { "inspect", "FILE", "any weights, model, photo, lock, run folder or data folder, explained" },
   { "convert", "IN OUT", "weights between formats" },
   { "help", "[TOPIC]", "this text; topics: start, recipes, weights, layers" },
}
local later = { -- part of Graft, but not of this version
   probe = true, export = true, verify = true, pack = true, new = true, bench = true,
}

local function usage()
   local rows = {}
   for _, command in ipairs(commands) do
      rows[#rows + 1] = { "graft " .. command[1] .. " " .. command[2], command[3] }
   end
   rows[#rows + 1] = { "graft -e CHUNK", "runs a line of Lua" }
   rows[#rows + 1] = { "graft", "the prompt" }
   return "Graft " .. core.version .. ": teach a pretrained network your own photos.\n\n" .. format.columns(rows, "ll", "  ")
      .. "\n\nAlso: --seed N --threads N --json --quiet --trace --help.  Recipes that come with Graft: graft help recipes"
end

-- "first line\n   more lines" as messages start: "graft: ..."
local function complain(text)
   progress.clear()
   io.stderr:write("graft: ", (tostring(text):gsub("\n", "\n       ")), "\n")
end

-- The exit status that an error stands for; says on stderr what it has to say.
local function status_of(failure)
   if type(failure) ~= "table" then
      complain(failure)
      return 1
   elseif rawget(failure, "text") and rawget(failure, "exit") then
      print(failure.text)
      return failure.exit
   end
   if core.is_error(failure) and failure.kind == "interrupt" then
      complain("interrupted")
      return 128 + (core.signal() or 2)
   end
   local usage_error = rawget(failure, "usage")
   complain(usage_error and failure.message or failure)
   if usage_error then
      if context.mode == "run" or context.mode == "plan" then
         io.stderr:write(("       see: graft %s %s --help\n"):format(context.mode, context.options.who))
      else
         io.stderr:write("       see: graft help\n")
      end
      return 2
   end
   return rawget(failure, "exit") or 1
end

-- Splits the common options off a command's words and puts them to use. Returns the rest.
local function common(args)
   local types = {}
   for name, kind in pairs(options.common) do
      types[name] = { type = kind }
   end
   local given, rest = options.read(args, types, "graft", false)
   if given.sandbox then
      options.usage("--sandbox is not in this version of Graft: recipes run with your own rights, so run only those that "
         .. "you trust")
   end
   context.json, context.resume, context.options_out = given.json, given.resume, given.out
   context.quiet = given.quiet or false
   if given.seed then
      core.seed(given.seed)
      context.seed_is_fixed = true
   end
   if given.threads then
      if given.threads < 1 then
         options.usage(("--threads: expected 1 or more, got %d"):format(given.threads))
      end
      core.threads(given.threads)
   end
   return given, rest
end

local function find(name)
   for _, command in ipairs(commands) do
      if command[1] == name then
         return command
      end
   end
end

local function run_command(name, args)
   local command = find(name)
   if not command then
      if later[name] then
         core.error("name", ("graft %s is not in this version of Graft (%s)"):format(name, core.version))
      end
      local names = {}
      for i, known in ipairs(commands) do
         names[i] = known[1]
      end
      local near = core.nearest(name, names)
      options.usage(("there is no command %q%s"):format(name, near and ("; nearest: " .. near) or ""), near)
   end
   context.command = name
   local given, rest = common(args)
   if given.help and name ~= "run" and name ~= "plan" then
      print(("usage: graft %s %s\n\n%s"):format(command[1], command[2], command[3]))
      return 0
   end
   return require("graft.commands." .. name).main(rest, given) or 0
end

local function dispatch(args)
   local first = args[1]
   if first == nil then
      return require("graft.prompt").main()
   elseif first == "--help" or first == "-h" then
      print(usage())
      return 0
   elseif first == "--version" then
      print("Graft " .. core.version)
      return 0
   elseif first == "-e" then
      return require("graft.prompt").chunk(args)
   end
   return run_command(first, table.move(args, 2, #args, 1, {}))
end

-- Arguments: the words after `graft`. Returns the exit status.
function cli.main(...)
   local args = { ... }
   local trace = false
   for _, word in ipairs(args) do
      if word == "--" then
         break
      end
      trace = trace or word == "--trace"
   end
   local function handler(failure)
      if trace and not (type(failure) == "table" and rawget(failure, "exit")) then
         io.stderr:write(debug.traceback(tostring(failure), 2), "\n")
      end
      return failure
   end
   local ok, result = xpcall(dispatch, handler, args)
   if ok then
      return result or 0
   end
   return status_of(result)
end

cli.usage = usage
cli.complain = complain

return cli
