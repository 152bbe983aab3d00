-- The prompt (`graft`), one chunk from the command line (`graft -e`), and a script on standard input.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local progress = require "graft.progress"
local show = require "graft.show"
local strict = require "graft.strict"

local prompt = {}

local NAME = "prompt" -- of chunks typed here, in error messages

-- --- top-level locals stay ---

-- Splits Lua text into tokens: next_token(position) -> kind, first, last; kind is a name or keyword itself, "string",
-- "number" or one character. nil at the end. Comments and blanks are left out.
local function tokens(text)
   return function(position)
      while true do
         position = text:find("%S", position)
         if not position then
            return nil
         end
         local level = text:match("^%-%-%[(=*)%[", position)
         if level then
            local _, last = text:find("]" .. level .. "]", position, true)
            position = (last or #text) + 1
         elseif text:find("^%-%-", position) then
            position = text:find("\n", position, true) or #text + 1
         else
            break
         end
      end
      local first = position
      local name = text:match("^[%a_][%w_]*", first)
      if name then
         return name, first, first + #name - 1
      end
      local number = text:match("^%.?%d[%w_.]*", first)
      if number then
         return "number", first, first + #number - 1
      end
      local level = text:match("^%[(=*)%[", first)
      if level then
         local _, last = text:find("]" .. level .. "]", first, true)
         return "string", first, last or #text
      end
      local quote = text:match("^[\"']", first)
      if quote then
         local last = first + 1
         while last < #text and text:sub(last, last) ~= quote do
            last = last + (text:sub(last, last) == "\\" and 2 or 1)
         end
         return "string", first, last
      end
      return text:sub(first, first), first, first
   end
end

-- The names after `local` from `position` on, and where the statement goes on. Attributes are read over: a value that
-- stays is not closed at the end of its line.
local function names_of(next_token, position)
   local names, kind, stop = {}
   repeat
      local name, _, last = next_token(position)
      names[#names + 1] = name
      kind, _, stop = next_token(last + 1)
      if kind == "<" then
         _, _, last = next_token(stop + 1) -- the attribute
         _, _, last = next_token(last + 1) -- ">"
         kind, _, stop = next_token(last + 1)
      end
      position = stop and stop + 1
   until kind ~= ","
   return names, kind, position
end

local opens = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local closes = { ["end"] = true, ["until"] = true }

-- Turns the top-level locals of a chunk that compiles into globals, so that the next lines see them. Lines stay where
-- they are.
function prompt.keep_locals(text)
   local next_token = tokens(text)
   local parts, copied, depth, position = {}, 1, 0, 1
   while true do
      local kind, first, last = next_token(position)
      if not kind then
         break
      end
      position = last + 1
      if opens[kind] then
         depth = depth + 1
      elseif closes[kind] then
         depth = depth - 1
      elseif kind == "local" and depth == 0 then
         parts[#parts + 1] = text:sub(copied, first - 1)
         copied = position
         if next_token(position) ~= "function" then
            local names, follows, after = names_of(next_token, position)
            position = after or #text + 1
            if follows == "=" then
               parts[#parts + 1] = table.concat(names, ", ") .. " ="
            else -- declared without a value
               position = follows and after - #follows or position
               parts[#parts + 1] = table.concat(names, ", ") .. " = nil "
            end
            parts[#parts + 1] = text:sub(copied, position - 1):gsub("[^\n]", "")
            copied = position
         end
      end
   end
   parts[#parts + 1] = text:sub(copied)
   return table.concat(parts)
end

-- --- chunks ---

-- What `help` is at the prompt: prints by itself, or when it is called with a topic.
local function helper(out)
   return setmetatable({}, {
      __call = function(_, topic)
         out(require("graft.commands.help").text(topic))
      end,
      __tostring = function()
         return require("graft.commands.help").text()
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
   return env
end

-- Compiles an expression or statements. Returns the function, or nil, the message and whether the text is unfinished.
local function compile(text, name, env, keep)
   local expression = load("return " .. text:gsub("^%s*=", ""), name, "t", env)
   if expression then
      return expression
   end
   local chunk, message = load(text, name, "t", env)
   if not chunk then
      return nil, message, message:find("<eof>'?$") ~= nil
   end
   return keep and load(prompt.keep_locals(text), name, "t", env) or chunk
end

-- A call of an undefined global hears the nearest name that there is.
local function with_nearest(message, env)
   local name = message:match("attempt to %w+ a nil value %(global '([^']+)'%)")
   local near = name and core.nearest(name, strict.keys(env))
   return near and ('%s; nearest: "%s"'):format(message, near) or message
end

-- What an error has to say at the prompt.
function prompt.message(failure, env)
   if core.is_error(failure) then
      if failure.kind == "interrupt" then
         return "interrupted"
      end
      local where = rawget(failure, "where")
      local here = not where or where:find("^" .. NAME .. ":")
      return "error: " .. (here and failure.message or tostring(failure))
   elseif type(failure) == "string" then
      return "error: " .. with_nearest(failure:gsub("^" .. NAME .. ":1: ", ""), env)
   end
   return "error: " .. tostring(failure)
end

local Session = {}
Session.__index = Session

-- A session: its variables and the lines of a chunk that is not finished. `out(text)` prints.
function prompt.session(out)
   local session = setmetatable({ out = out, pending = nil }, Session)
   session.env = environment(out)
   return session
end

local function columns()
   return core.terminal("stdout") or 100
end

-- Runs a compiled chunk, keeps its first result in `_` and prints all of them.
local function run(session, chunk, ...)
   local results = table.pack(chunk(...))
   if results.n > 0 then
      if results[1] ~= nil then
         session.env._ = results[1]
      end
      session.out(show.values(results, columns()))
   end
end

-- Takes one line. Returns true when more lines are needed to finish what it began.
function Session:line(line)
   local text = self.pending and self.pending .. "\n" .. line or line
   local chunk, message, unfinished = compile(text, "=" .. NAME, self.env, true)
   if unfinished then
      self.pending = text
      return true
   end
   self.pending = nil
   if not chunk then
      self.out(prompt.message(message, self.env))
      return false
   end
   context.options.declared = nil -- a pasted graft.options{...} may come again
   local ok, failure = pcall(run, self, chunk)
   if not ok then
      progress.clear()
      local ends = type(failure) == "table" and rawget(failure, "exit") or core.signal() == 15
      if ends then
         error(failure, 0)
      end
      self.out(prompt.message(failure, self.env))
   end
   return false
end

-- Text that nobody types: results are printed, an error ends it.
local function run_script(text, name, ...)
   local session = prompt.session(print)
   local chunk, message = compile(text, "=" .. name, session.env, false)
   if not chunk then
      error(message, 0)
   end
   local results = table.pack(pcall(run, session, chunk, ...))
   if not results[1] then
      local failure = results[2]
      error(type(failure) == "string" and with_nearest(failure, session.env) or failure, 0)
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
   return run_script(args[2], "-e", table.unpack(rest))
end

-- --- the terminal ---

local function greeting()
   return ('Graft %s (%s, %s, %s).  help "start" shows the first steps, Tab completes, Ctrl-D leaves.'):format(
      core.version, _VERSION, format.plural(core.threads(), "thread"), core.cpu)
end

local function open_history()
   local path = os.getenv("GRAFT_HISTORY")
   local home = os.getenv("HOME")
   if not path and home and home ~= "" then
      path = home .. "/.graft_history"
   end
   if path and path ~= "" then
      core.history(path)
   end
end

local function print_line(text)
   io.stdout:write(text, "\n")
   io.stdout:flush()
end

-- graft, without arguments. Returns the exit status.
function prompt.main()
   if not core.interactive() then
      return run_script(io.read("a"), "stdin")
   end
   context.interactive = true
   open_history()
   print_line(greeting())
   local session = prompt.session(print_line)
   local complete = require "graft.complete"
   local function on_tab(text)
      return complete.line(text, session.env, columns())
   end
   local more = false
   while true do
      core.clear_interrupt()
      local line, reason = core.read_line(more and ">> " or "> ", on_tab)
      if line then
         more = session:line(line)
      elseif reason == "interrupt" then
         session.pending, more = nil, false
      elseif reason == "terminate" then
         core.check_interrupt()
      else
         return 0
      end
   end
end

return prompt
