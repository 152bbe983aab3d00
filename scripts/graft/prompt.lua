-- The prompt (`graft`), one chunk from the command line (`graft -e`), and a script on standard input.

local core = require "graft.core"
local chunks = require "graft.chunks"
local context = require "graft.context"
local format = require "graft.format"
local history = require "graft.history"
local progress = require "graft.progress"
local show = require "graft.show"
local strict = require "graft.strict"

local prompt = {}

local NAME = "prompt" -- of chunks typed here, in error messages

local function columns()
   return core.terminal("stdout") or 100
end

-- --- the session's variables ---

-- What `help` is at the prompt: the first steps by itself, an entry when it is called with a topic.
local function helper(out)
   local help = require "graft.commands.help"
   return setmetatable({}, {
      __name = "graft.words",
      __call = function(_, topic)
         out(show.fold(help.text(topic or "start"), columns()))
      end,
      __tostring = function()
         return help.text("start") .. '\n\nMore: help "freeze" and every other name of the Lua API, in quotes; help of '
            .. table.concat(help.topics(), ", ")
      end,
   })
end

local LEAVE = setmetatable({}, { __tostring = function()
   return "quit() works at the prompt only"
end })

local function leaver()
   return setmetatable({}, {
      __name = "graft.words",
      __call = function()
         error(LEAVE, 0)
      end,
      __tostring = function()
         return "quit() or Ctrl-D leaves"
      end,
   })
end

-- The globals of the prompt: a copy of Lua's, so that `local type = ...` harms nothing else.
local function environment(out)
   local env = {}
   for key, value in pairs(_G) do
      env[key] = value
   end
   env._G = env
   env.graft = require "graft"
   env.help = helper(out)
   env.quit, env.exit = leaver(), leaver()
   show.hide(env) -- what it holds by now is no news to anybody
   return env
end

-- --- messages ---

-- A call of an undefined global hears the nearest name that there is.
local function with_nearest(message, env)
   local name = message:match("attempt to %w+ a nil value %(global '([^']+)'%)")
   local near = name and core.nearest(name, strict.keys(env))
   return near and ('%s; nearest: "%s"'):format(message, near) or message
end

-- "line 3: " of what was typed, where it has more than one line; the place in a file; "" for what was typed in one line.
local function place(where, lines)
   local line = where and where:match("^" .. NAME .. ":(%d+)$")
   if line then
      return lines > 1 and ("line %s: "):format(line) or ""
   end
   return where and where .. ": " or ""
end

local function text_of(failure)
   local ok, text = pcall(tostring, failure)
   return ok and text or "an error of type " .. type(failure)
end

-- What an error has to say at the prompt; `lines` is how many the chunk had.
function prompt.message(failure, env, lines)
   lines = lines or 1
   if core.is_error(failure) then
      if failure.kind == "interrupt" then
         return "interrupted"
      end
      return "error: " .. place(rawget(failure, "where"), lines) .. failure.message
   end
   local message = text_of(failure)
   local line, rest = message:match("^" .. NAME .. ":(%d+): (.*)$")
   if line then
      message = place(NAME .. ":" .. line, lines) .. rest
   end
   return "error: " .. show.printable(with_nearest(message, env))
end

-- A training that was stopped, in one line: what it reached, and what is kept.
function prompt.stopped(run)
   local words = { ("run: stopped by you in epoch %d of %d"):format(run.epochs_done + 1, run.epochs_wanted) }
   local best, measured = run.best, run.evaluation
   if run.kept == "best" and best then
      local share = best.val_accuracy
      words[2] = (share and ("best val %.3f%s"):format(share, measured and not measured.map
         and (" (%d of %d)"):format(measured.right, measured.count) or "") or ("best val loss %.3f"):format(best.val_loss))
         .. (" at epoch %d, which net now holds"):format(best.epoch)
   elseif run.kept then
      words[2] = "net holds what the last step made of it"
   else
      words[2] = "no epoch came to its end"
   end
   words[3] = "in " .. core.printable(run.out)
   return table.concat(words, "; ")
end

-- --- sessions ---

local Session = {}
Session.__index = Session

-- A session: its variables, and `pending`, the lines of a chunk that is not finished. `out(text)` prints; `remember(text)`, when
-- it is set, hears of each whole chunk before it runs.
function prompt.session(out)
   local session = setmetatable({ out = out }, Session)
   session.env = environment(out)
   return session
end

-- The run of a training that was stopped since there were `before` of them.
local function stopped_run(before)
   local run = #context.runs > before and context.runs[#context.runs].run
   return run and run.stopped == "interrupt" and run or nil
end

-- Runs a compiled chunk, keeps its first result in `_` and prints all of them. Returns whether to go on.
local function run(session, chunk, ...)
   local before = #context.runs
   local results = table.pack(chunk(...))
   local stopped = stopped_run(before)
   if results[1] ~= nil or stopped then
      session.env._ = stopped or results[1]
   end
   if stopped then
      session.out(show.fold(prompt.stopped(stopped), columns()))
   elseif results.n > 0 then
      session.out(show.values(results, columns()))
   end
   return not stopped
end

-- Takes one line, or several that were pasted. Returns true when more lines are needed to finish what it began.
function Session:line(line)
   local text = self.pending and self.pending .. "\n" .. line or line
   local list, message, unfinished, before, rest = chunks.read(text, "=" .. NAME, self.env, true)
   local _, lines = text:gsub("\n", "\n")
   self.pending = nil
   if self.remember and (list or not unfinished) then
      self.remember(text)
   end
   for _, part in ipairs(list or before) do
      context.options.declared = nil -- a pasted graft.options{...} may come again
      local ok, failure = pcall(run, self, part.run)
      if ok and not failure then
         return false
      elseif not ok then
         progress.clear()
         if failure == LEAVE or core.signal() == 15 then
            error(failure, 0)
         end
         self.out(show.fold(prompt.message(failure, self.env, lines + 1), columns()))
         return false
      end
   end
   if unfinished then
      self.pending = rest
      return true
   elseif not list then
      self.out(show.fold(prompt.message(message, self.env, lines + 1), columns()))
   end
   return false
end

-- --- text that nobody types ---

-- Message handler of scripts: the line where an error came from that names none itself.
local function with_line(name)
   return function(failure)
      if type(failure) ~= "string" or failure:find("^[^\n]-:%d+: ") then
         return failure
      end
      for level = 2, 200 do
         local info = debug.getinfo(level, "Sl")
         if not info then
            return failure
         elseif info.source == "=" .. name and info.currentline > 0 then
            return ("%s:%d: %s"):format(name, info.currentline, failure)
         end
      end
      return failure
   end
end

-- Results are printed, an error ends it. `list` are its chunks.
local function run_script(session, list, name, ...)
   for _, part in ipairs(list) do
      local results = table.pack(xpcall(run, with_line(name), session, part.run, ...))
      if not results[1] then
         local failure = results[2]
         if failure == LEAVE then
            return 0
         end
         error(type(failure) == "string" and with_nearest(failure, session.env) or failure, 0)
      end
   end
   return 0
end

-- graft -e CHUNK [ARGS]: the arguments are the chunk's `...`, and what graft.options reads.
function prompt.chunk(args)
   if not args[2] then
      require("graft.options").usage("graft -e needs a line of Lua: graft -e 'graft.version'")
   end
   local rest = table.move(args, 3, #args, 1, {})
   context.options = { args = rest, who = "graft -e" }
   local session = prompt.session(print)
   local chunk, message = chunks.compile(args[2], "=-e", session.env, false)
   if not chunk then
      error(message, 0)
   end
   return run_script(session, { { run = chunk } }, "-e", table.unpack(rest))
end

-- A script on standard input. Nothing of it runs when a part does not compile.
local function main_script(text)
   local session = prompt.session(print)
   local list, message = chunks.read((text:gsub("^#[^\n]*", "")), "=stdin", session.env, false)
   if not list then
      error(message, 0)
   end
   return run_script(session, list, "stdin")
end

-- --- the terminal ---

-- One line where the terminal is wide enough.
local function greeting()
   local title = ("Graft %s (%s, %s, %s)."):format(core.version, _VERSION, format.plural(core.threads(), "thread"), core.cpu)
   local steps = 'help "start" shows the first steps, Tab completes, Ctrl-D leaves.'
   return title .. (#title + 2 + #steps < columns() and "  " or "\n") .. steps
end

local function print_line(text)
   io.stdout:write(text, "\n")
   io.stdout:flush()
end

-- Reads and runs until somebody leaves.
local function converse(session, on_tab)
   session.remember = history.add
   while true do
      core.clear_interrupt()
      local line, reason, empty = core.read_line(session.pending and ">> " or "> ", on_tab)
      if line then
         session:line(line)
      elseif reason == "interrupt" then
         if empty and not session.pending then
            print_line("Ctrl-D or quit() leaves.")
         end
         session.pending = nil
      elseif reason == "terminate" then
         core.check_interrupt()
      else
         return 0
      end
   end
end

-- graft, without arguments. Returns the exit status.
function prompt.main()
   if not core.interactive() then
      return main_script(io.read("a"))
   end
   context.interactive = true
   core.patient()
   history.open()
   print_line(greeting())
   local session = prompt.session(print_line)
   local complete = require "graft.complete"
   local ok, result = pcall(converse, session, function(text)
      return complete.line(text, session.env, columns())
   end)
   if not ok and result ~= LEAVE then
      error(result, 0)
   end
   return ok and result or 0
end

return prompt
