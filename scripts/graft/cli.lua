-- The command line: finds the command, runs it, turns errors into messages and exit statuses.
--
-- 0 done, 1 failed, 2 bad usage, 3 lock mismatch, 130/143 interrupted. Results go to stdout, progress to stderr.

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local progress = require "graft.progress"

local cli = {}

local SIGXCPU = 24

local commands = { -- name, arguments, what it does
   { "run", "RECIPE [OPTIONS]", "train as the recipe says" },
   { "plan", "RECIPE [OPTIONS]", "the same file and options; prints what training would do" },
   { "probe", "MODEL DATA", "linear probes at several depths, and advice on what to transfer" },
   { "verify", "RUNDIR [--data DIR] [--weights FILE]", "replay a run by its lock and compare" },
   { "predict", "MODEL IMAGE...", "class names and probabilities" },
   { "eval", "MODEL DATA", "accuracy, per-class table, confusion matrix" },
   { "embed", "MODEL IMAGES --at LAYER --out FILE.npy", "features of photos" },
   { "inspect", "FILE", "any weights, model, photo, ONNX file, lock, pack, run folder or data folder" },
   { "convert", "IN OUT", "weights between formats" },
   { "export", "MODEL OUT.onnx", "a network for other programs to run, as ONNX" },
   { "pack", "RUNDIR OUT.graft", "a run in one file, to be shared" },
   { "new", "NAME", "a recipe to start from, for your data" },
   { "bench", "", "how fast this machine trains: times and memory on random photos" },
   { "help", "[TOPIC]", "this text, a command, or a topic" },
}
cli.commands = commands -- the reference must explain each of them

-- What `graft help` prints, in lines of at most `width` characters.
function cli.usage(width)
   width = width or format.width()
   local rows = {}
   for _, command in ipairs(commands) do
      rows[#rows + 1] = { "graft " .. command[1] .. " " .. (command[2] ~= "" and command[2] or "[OPTIONS]"), command[3] }
   end
   rows[#rows + 1] = { "graft -e CHUNK", "runs a line of Lua" }
   rows[#rows + 1] = { "graft", "the prompt" }
   return "Graft " .. core.version .. ": teach a pretrained network your own photos.\n\n" .. format.table(rows, width, "  ")
      .. "\n\nAlso: --seed N --threads N --json --quiet --trace, and --help after any command.\n"
      .. table.concat(format.wrap("Topics: " .. table.concat(require("graft.commands.help").topics(), ", ")
         .. "; and the names of the Lua API, such as: graft help freeze", width), "\n")
end

-- "first line\n   more lines" as messages start: "graft: ..."
function cli.complain(text)
   progress.clear()
   io.stderr:write("graft: ", (tostring(text):gsub("\n", "\n       ")), "\n")
end

-- What an error says to somebody who typed a command and no Lua: the name of the function is left out.
function cli.plain(failure)
   local message = failure.message
   for _, prefix in ipairs { "^net:[%l_]+: ", "^tensor:[%l_]+: ", "^graft%.[%l_.]+: " } do
      message = message:gsub(prefix, "")
   end
   return message
end

-- Where the model of the recipe's last finished fit lies, for somebody whose recipe failed after it; nil without one.
local function kept_model()
   local number, last = #context.runs, context.runs[#context.runs]
   if context.mode ~= "run" or not context.out or not last then
      return nil
   end
   for _, folder in ipairs { ("%s/fit-%d"):format(context.out, number), context.out } do
      for _, name in ipairs { "best", "last" } do
         local path = ("%s/%s.safetensors"):format(folder, name)
         if core.stat(path) then
            return path, number
         end
      end
   end
end

-- What is left of a run that ended too soon, below the message; "" where there is nothing.
local function left_behind(interrupted)
   local path, number = kept_model()
   local kept = path and ("\nfit %d had finished, and is kept: %s"):format(number, path) or ""
   if interrupted and context.mode == "run" and context.out and not context.told_resume then
      return ("; the same command with --out %s --resume goes on"):format(context.out) .. kept
   end
   return kept
end

-- The exit status that an error stands for; says on stderr what it has to say.
local function status_of(failure)
   if type(failure) ~= "table" then
      cli.complain(tostring(failure) .. left_behind(false))
      return 1
   elseif rawget(failure, "text") and rawget(failure, "exit") then
      print(failure.text)
      return failure.exit
   end
   if core.is_error(failure) and failure.kind == "interrupt" then
      if core.signal() ~= SIGXCPU then -- a limit of the sandbox, which the program outside it tells
         cli.complain("interrupted" .. left_behind(true))
      end
      return 128 + (core.signal() or 2)
   end
   if rawget(failure, "differs") and context.for_verify then
      require("graft.lock").leave(failure.differs)
      return failure.exit
   elseif rawget(failure, "differs") and context.json then
      print(core.json({ differs = core.array(failure.differs) }, 2))
   end
   local usage_error = rawget(failure, "usage")
   local typed = core.is_error(failure) and context.command and not context.options.what
   cli.complain(tostring(usage_error and failure.message or typed and cli.plain(failure) or failure)
      .. (usage_error and "" or left_behind(false)))
   if usage_error then
      local who = context.options.what and context.options.who
      io.stderr:write("       see: graft ", who and ("%s %s --help"):format(context.command, who)
         or context.command and context.command ~= "help" and context.command .. " --help" or "help", "\n")
      return 2
   end
   return rawget(failure, "exit") or 1
end

-- Splits the common options off a command's words and puts them to use. Returns the rest.
local function common(args)
   local given, rest = options.read(args, options.common, "graft", false)
   if given.trust and given.sandbox then
      options.usage("--trust and --sandbox exclude each other; --sandbox is how recipes run without either")
   end
   context.trace = given.trace
   context.json, context.resume, context.options_out = given.json, given.resume, given.out
   context.for_verify = given.for_verify
   context.locked = given.locked and require("graft.lock").read(given.locked)
   context.quiet = given.quiet or false
   if given.seed then
      core.seed(given.seed)
      context.seed_is_fixed = true
   end
   if given.threads then
      core.threads(given.threads)
      context.threads_are_fixed = true
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

-- What `graft NAME --help` and `graft help NAME` print; nil when there is no such command.
function cli.command_help(name, width)
   local command = find(name)
   width = width or format.width()
   if name == "run" or name == "plan" then
      return options.recipe_help(name, "RECIPE", nil, nil, width) .. "\n\nA recipe has options of its own: graft " .. name
         .. " RECIPE --help.\nRecipes that come with Graft: graft help recipes"
   elseif command then
      local declared = require("graft.commands." .. name).options
      local words = command[2] ~= "" and " " .. command[2] or ""
      local notes = require("graft.commands." .. name).notes
      return ("usage: graft %s%s%s\n\n%s%s%s"):format(command[1], words, declared and " [OPTIONS]" or "", command[3],
         declared and "\n" .. options.command_help(declared, width) or "", notes and "\n\n" .. notes or "")
   end
end

local function run_command(name, args)
   if not find(name) then
      local names = {}
      for i, known in ipairs(commands) do
         names[i] = known[1]
      end
      local near = core.nearest(name, names)
      options.usage(("there is no command %q%s"):format(name, near and ("; nearest: " .. near) or ""), near)
   end
   context.command = name
   local given, rest = common(args)
   local of_recipe = (name == "run" or name == "plan") and rest[1] ~= nil -- those answer for themselves
   if given.help and not of_recipe then
      print(cli.command_help(name))
      return 0
   end
   return require("graft.commands." .. name).main(rest, given) or 0
end

local function dispatch(args)
   local first = args[1]
   if first == nil then
      return require("graft.prompt").main()
   elseif first == "--help" or first == "-h" then
      print(cli.usage())
      return 0
   elseif first == "--version" then
      print(("Graft %s (JPEG by %s)\nsandbox: %s"):format(core.version, core.jpeg, core.protections()))
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
   context.words, context.named = args, {}
   for i, word in ipairs(args) do
      if word == "--" then
         break
      end
      trace = trace or word == "--trace"
      if word == "--read" or word:match "^%-%-read=" then
         table.insert(context.named, word:match "^%-%-read=(.*)$" or args[i + 1])
      end
   end
   local function handler(failure)
      if trace and not core.guest and not (type(failure) == "table" and rawget(failure, "exit")) then
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

return cli
