-- The sandbox from inside: the Lua that a recipe sees. It is built up from nothing, function by function; Graft's own library
-- keeps the whole of Lua, in tables that no value of a recipe leads to (tests/lua/sandbox_spec.lua walks them all).
--
-- Limits are sticky: once memory has run out, or the program was told to stop, no pcall and no coroutine goes on.

local core = require "graft.core"
local context = require "graft.context"
local strict = require "graft.strict"

local guest = {}

local MOST_BYTES = 1 << 28 -- that string.rep makes
local MOST_ENTRIES = 1 << 26 -- that one call of a table function visits
local MOST_COROUTINES = 10000 -- that are not dead
local LONGEST_ERROR = 4000 -- bytes of an error that are shown

-- Lua's own, before anything is replaced.
local getmetatable, setmetatable, pcall, error, tostring, type = getmetatable, setmetatable, pcall, error, tostring, type
local next, raw_pairs, rawget, rawset, rawlen, rawequal, select = next, pairs, rawget, rawset, rawlen, rawequal, select
local string_rep, string_format, table_pack, math_type = string.rep, string.format, table.pack, math.type
local streams = { stdout = io.stdout, stderr = io.stderr }

local function refuse(name)
   core.error("name", ("%s is not there for a recipe in the sandbox; --trust runs a recipe of your own with all of Lua")
      :format(name))
end

local function limit(text, ...)
   core.error("limit", text:format(...))
end

-- --- text for a terminal ---

-- Control characters as they are written in code, but for line ends and tabs: a recipe does not steer the terminal.
local function clean(text)
   if not text:find "[%c\x80-\xff]" then
      return text
   end
   return (text:gsub("[^\n\t]+", function(part)
      return core.printable((part:gsub("\0", "\\x00")))
   end))
end

-- What the library itself writes to move the cursor.
local moves = { ["\r"] = true, ["\27[K"] = true, ["\r\27[K"] = true }

local Stream = {}
Stream.__index = Stream

function Stream:write(...)
   for i = 1, select("#", ...) do
      local text = tostring((select(i, ...)))
      self.file:write(moves[text] and text or clean(text))
   end
   return self
end

function Stream:flush()
   self.file:flush()
   return self
end

-- tostring without addresses: they differ from run to run, and tell where in memory things are.
local numbers_of = setmetatable({}, { __mode = "k" })
local given_numbers = 0

local function shown(value)
   local text = tostring(value)
   if type(value) == "string" or not text:find "0x" then
      return text
   end
   local kind = text:match "^(.-): 0x%x+$"
   if not kind then
      return text
   elseif not numbers_of[value] then
      given_numbers = given_numbers + 1
      numbers_of[value] = given_numbers
   end
   return ("%s: %d"):format(kind, numbers_of[value])
end

local has_address = { table = true, ["function"] = true, thread = true, userdata = true }

local function safe_format(format, ...)
   if type(format) == "string" and format:find "%%[-+ #0]*%d*p" then
      refuse "the %p of string.format"
   end
   local values = table_pack(...)
   for i = 1, values.n do
      if has_address[type(values[i])] then
         values[i] = shown(values[i])
      end
   end
   return string_format(format, table.unpack(values, 1, values.n))
end

local function say(stream, ...)
   local words = table_pack(...)
   for i = 1, words.n do
      words[i] = shown(words[i])
   end
   streams[stream]:write(clean(table.concat(words, "\t")), "\n")
end

-- io.stdout and io.stderr as a recipe has them.
local function writer(stream)
   local file = {}
   function file.write(_, ...)
      for i = 1, select("#", ...) do
         local value = select(i, ...)
         streams[stream]:write(clean(type(value) == "number" and tostring(value) or strict.check(value, "string", "write")))
      end
      return file
   end
   function file.flush()
      streams[stream]:flush()
      return file
   end
   return file
end

-- --- metatables ---

local events = { "index", "newindex", "call", "tostring", "name", "len", "eq", "lt", "le", "concat", "unm", "add", "sub", "mul",
   "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr", "bnot", "pairs" }
local own = setmetatable({}, { __mode = "k" }) -- metatable in use -> the recipe's table that it was copied from
local made = setmetatable({}, { __mode = "k" }) -- the recipe's table -> metatable in use

-- Finalizers and the like run where a recipe has no business; they are refused, also when they are added later, since what
-- is in use is a copy of the allowed events.
local function private(source)
   for _, event in ipairs { "__gc", "__mode", "__close" } do
      if rawget(source, event) ~= nil then
         refuse("the metamethod " .. event)
      end
   end
   local name = rawget(source, "__name")
   if type(name) == "string" and name:find "^graft" then
      core.error("option", 'setmetatable: a __name that begins with "graft" is Graft\'s own')
   end
   local copy = made[source] or {}
   for _, event in ipairs(events) do
      copy["__" .. event] = rawget(source, "__" .. event)
   end
   made[source], own[copy] = copy, source
   return copy
end

local function guest_getmetatable(value)
   local meta = getmetatable(value)
   if meta == nil then
      return nil
   elseif type(value) ~= "table" or own[meta] == nil then
      return false -- it is Graft's own, or Lua's
   end
   local instead = rawget(own[meta], "__metatable")
   if instead ~= nil then
      return instead
   end
   return own[meta]
end

local function guest_setmetatable(...)
   local object, source = ...
   if type(object) ~= "table" then
      core.error("option", "setmetatable: expected a table, got " .. type(object))
   elseif select("#", ...) < 2 or (source ~= nil and type(source) ~= "table") then
      core.error("option", "setmetatable: expected a table or nil as metatable, got " .. type(source))
   end
   local meta = getmetatable(object)
   if meta ~= nil and (own[meta] == nil or rawget(own[meta], "__metatable") ~= nil) then
      core.error("option", "setmetatable: this table's metatable is protected")
   end
   return setmetatable(object, source and private(source) or nil)
end

-- --- order ---

local function smaller(a, b)
   return a < b
end

-- The keys beyond the list part: numbers, strings, booleans, each in order; what has no order comes last.
local function other_keys(t, count)
   local numbers, strings, rest = {}, {}, {}
   for key in next, t do
      local kind = type(key)
      if kind == "string" then
         strings[#strings + 1] = key
      elseif kind == "number" then
         if not (math_type(key) == "integer" and key >= 1 and key <= count) then
            numbers[#numbers + 1] = key
         end
      elseif kind ~= "boolean" then
         rest[#rest + 1] = key
      end
   end
   table.sort(numbers, smaller)
   table.sort(strings, smaller)
   for _, list in ipairs { strings, { false, true }, rest } do
      table.move(list, 1, #list, #numbers + 1, numbers)
   end
   return numbers
end

-- A function that gives the list part, then the rest; a field that was taken away meanwhile is left out.
local function steps(t)
   local count, i = rawlen(t), 0
   local keys
   return function()
      while true do
         i = i + 1
         local key
         if i <= count then
            key = i
         else
            keys = keys or other_keys(t, count)
            key = keys[i - count]
            if key == nil then
               return nil
            end
         end
         local value = rawget(t, key)
         if value ~= nil then
            return key, value
         end
      end
   end
end

local function guest_pairs(t)
   local meta = getmetatable(t)
   if type(t) ~= "table" or (type(meta) == "table" and rawget(meta, "__pairs") ~= nil) then
      return raw_pairs(t)
   end
   return steps(t), t, nil
end

-- next in the same order. The walk that is under way is remembered, so that each step is quick.
local walk = { table = setmetatable({}, { __mode = "v" }), step = nil, at = nil }

local function guest_next(t, key)
   if type(t) ~= "table" then
      core.error("option", "next: expected a table, got " .. type(t))
   elseif next(t) == nil then
      return nil
   end
   if key == nil or not rawequal(walk.table[1], t) or not rawequal(walk.at, key) then
      local step = steps(t)
      walk.table[1], walk.step, walk.at = t, step, nil
      while key ~= nil and not rawequal(walk.at, key) do
         walk.at = step()
         if walk.at == nil then
            core.error("option", "next: there is no such key")
         end
      end
   end
   local value
   walk.at, value = walk.step()
   return walk.at, value
end

-- --- errors ---

-- What pcall and resume give back, unless it must not be caught: a limit, an interrupt, the end of what was asked for.
local function passed(ok, ...)
   if not ok and (core.ended() or (context.ending ~= nil and rawequal((...), context.ending))) then
      error((...), 0)
   end
   return ok, ...
end

local function guest_pcall(...)
   if select("#", ...) == 0 then
      core.error("option", "pcall: expected a function")
   end
   return passed(pcall(...))
end

-- The handler is called when the stack is unwound: while an error is under way, no code of the recipe runs.
local function handled(handler, ok, ...)
   if ok then
      return true, ...
   end
   return false, handler((...))
end

local function guest_xpcall(f, handler, ...)
   strict.check(handler, "function", "xpcall: the handler")
   return handled(handler, passed(pcall(f, ...)))
end

-- An error's text without a call of the recipe's code.
function guest.text(failure)
   local text
   if core.is_error(failure) then
      local message, where = rawget(failure, "message"), rawget(failure, "where")
      text = (type(where) == "string" and where .. ": " or "") .. (type(message) == "string" and message or "an error")
   elseif type(failure) == "string" or type(failure) == "number" then
      text = tostring(failure)
   else
      text = ("an error that is no text but a %s"):format(type(failure))
   end
   return #text > LONGEST_ERROR and text:sub(1, LONGEST_ERROR) .. " ..." or text
end

-- The error as the library may go on with it: nothing of it is the recipe's own but text.
local function plain(failure)
   if not core.is_error(failure) then
      return guest.text(failure)
   end
   local fields = {}
   for _, key in ipairs { "kind", "message", "near", "where" } do
      local value = rawget(failure, key)
      fields[key] = type(value) == "string" and value:sub(1, LONGEST_ERROR) or nil
   end
   if fields.kind == "memory" and fields.message then
      fields.message = fields.message .. "; --max-memory raises the sandbox's"
   end
   local kind = fields.kind ~= "interrupt" and fields.kind or (core.signal() and "interrupt") or "user"
   local near = fields.near and not fields.near:find "\0" and fields.near or nil
   local _, copy = pcall(core.error, kind, fields.message or "an error", near)
   if not core.is_error(copy) or rawget(copy, "kind") ~= kind then -- the recipe made a kind up
      _, copy = pcall(core.error, "user", fields.message or "an error")
   end
   copy.where = fields.where
   copy.usage = rawget(failure, "usage") == true or nil
   return copy
end

-- Calls the recipe. Raises what ended it.
function guest.call(chunk)
   local ok, failure = xpcall(chunk, function(failure)
      if context.trace and not rawequal(failure, context.ending) then
         io.stderr:write(debug.traceback(guest.text(failure), 2), "\n")
      end
      return failure
   end)
   if not ok then
      error(context.ending ~= nil and rawequal(failure, context.ending) and failure or plain(failure), 0)
   end
end

-- --- coroutines ---

local live, count = setmetatable({}, { __mode = "k" }), 0

local function guest_create(f)
   strict.check(f, "function", "coroutine.create")
   if count >= MOST_COROUTINES then
      collectgarbage()
      count = 0
      for thread in next, live do
         count = count + (coroutine.status(thread) ~= "dead" and 1 or 0)
      end
      if count >= MOST_COROUTINES then
         limit("coroutine.create: there are %d coroutines that have not ended; no more are made", count)
      end
   end
   local thread = coroutine.create(f)
   live[thread], count = true, count + 1
   return thread
end

local function resumed(before, ...)
   core.watch(before)
   return passed(...)
end

local function guest_resume(thread, ...)
   strict.check(thread, "thread", "coroutine.resume")
   core.check_interrupt()
   local before = coroutine.running()
   core.watch(thread)
   return resumed(before, coroutine.resume(thread, ...))
end

local function unwrapped(ok, ...)
   if not ok then
      error((...), 0)
   end
   return ...
end

local function guest_wrap(f)
   local thread = guest_create(f)
   return function(...)
      return unwrapped(guest_resume(thread, ...))
   end
end

-- --- bounded library functions ---

local function bounded_rep(text, times, separator)
   local n, gap = math.tointeger(tonumber(times)), separator ~= nil and #separator or 0
   if type(text) == "string" and n and n > 0 and (#text + gap) > 0 and n > MOST_BYTES // (#text + gap) then
      limit("string.rep: a text of more than %d MiB", MOST_BYTES >> 20)
   end
   return string_rep(text, times, separator)
end

-- `f` of table, on a table of bounded length; `first`, `last`: which arguments are a range of entries.
local function bounded(name, first, last)
   local f = table[name]
   return function(t, ...)
      local from, to = 1, nil
      if first then
         from, to = select(first, ...), select(last, ...)
      end
      if type(t) == "table" then
         from, to = math.tointeger(tonumber(from or 1)) or 1, math.tointeger(tonumber(to or #t)) or 0
         if (from < 0 and to >= 0 and to - from < 0) or to - from >= MOST_ENTRIES then
            limit("table.%s: more than %d entries", name, MOST_ENTRIES)
         end
      end
      return f(t, ...)
   end
end

-- --- the environment ---

-- A library of which the recipe gets these functions; the others are refused by name.
local function library(name, functions)
   return setmetatable(functions, { __index = function(_, key)
      local near = core.nearest(tostring(key), strict.keys(functions))
      if _G[name][key] ~= nil then
         refuse(("%s.%s"):format(name, tostring(key)))
      end
      core.error("name", ("%s has no %s%s"):format(name, guest.text(key), near and ('; nearest: "%s"'):format(near) or ""),
         near)
   end })
end

local function take(t, names)
   local copy = {}
   for name in names:gmatch "%S+" do
      copy[name] = t[name]
   end
   return copy
end

local function strings()
   local copy = take(string, "byte char find gmatch gsub len lower match pack packsize reverse sub unpack upper")
   copy.rep, copy.format = bounded_rep, safe_format
   return copy
end

-- Tables and what hangs on them anew, so that what a recipe changes is its own; metatables stay as they are.
local function copied(t, seen)
   if seen[t] then
      return seen[t]
   end
   local copy = {}
   seen[t] = copy
   for key, value in next, t do
      copy[key] = type(value) == "table" and copied(value, seen) or value
   end
   return debug.setmetatable(copy, debug.getmetatable(t))
end

local absent = { load = true, loadstring = true, loadfile = true, dofile = true, collectgarbage = true, debug = true,
   package = true, warn = true }

local function base(env, graft, stream)
   local plain_ones = "_VERSION assert error ipairs select tonumber type rawequal rawget rawlen rawset"
   for name, value in next, take(_G, plain_ones) do
      env[name] = value
   end
   env._G = env
   env.tostring = shown
   env.graft = graft
   env.pairs, env.next = guest_pairs, guest_next
   env.pcall, env.xpcall = guest_pcall, guest_xpcall
   env.getmetatable, env.setmetatable = guest_getmetatable, guest_setmetatable
   env.print = function(...)
      local nothing = context.planning and select("#", ...) == 1 and require("graft.plan").is_planned((...))
      if not nothing then -- print(graft.fit(...)) has nothing to print then
         say(stream, ...)
      end
   end
   env.require = function(name)
      if name ~= "graft" then
         core.error("name", ('require knows only "graft" in the sandbox, not %s; --trust runs a recipe of your own with all '
            .. "of Lua"):format(type(name) == "string" and ("%q"):format(name) or "a " .. type(name)))
      end
      return graft
   end
end

-- The globals of a recipe.
function guest.environment()
   local env, stream = {}, context.json and "stderr" or "stdout"
   local graft = copied(require "graft", {})
   base(env, graft, stream)
   env.string = library("string", strings())
   env.utf8 = library("utf8", take(utf8, "char charpattern codepoint codes len offset"))
   env.table = library("table", { pack = table.pack, concat = bounded("concat", 2, 3), insert = bounded "insert",
      move = bounded("move", 1, 2), remove = bounded "remove", sort = bounded "sort", unpack = bounded("unpack", 1, 2) })
   local numbers = {}
   for name, value in next, math do
      numbers[name] = value
   end
   math.randomseed(core.seed()) -- Lua's own seed is another one in every run
   env.math = library("math", numbers)
   env.os = library("os", take(os, "clock date difftime time"))
   env.coroutine = library("coroutine", take(coroutine, "isyieldable running status yield"))
   env.coroutine.create, env.coroutine.resume, env.coroutine.wrap = guest_create, guest_resume, guest_wrap
   env.io = library("io", { stdout = writer(stream), stderr = writer "stderr" })
   env.io.write = function(...)
      return env.io.stdout:write(...)
   end
   return setmetatable(env, { __index = function(self, key)
      if absent[key] then
         refuse(key)
      end
      local near = core.nearest(guest.text(key), strict.keys(self))
      core.error("name", ("there is no global %q%s"):format(guest.text(key), near and ('; nearest: "%s"'):format(near) or ""),
         near)
   end })
end

-- While the process still has its rights: what is written goes through `clean`, and methods of strings are the safe ones.
function guest.prepare()
   for name, file in next, streams do
      rawset(io, name, setmetatable({ file = file }, Stream))
   end
   require("graft.output").raw = function(text)
      streams.stdout:write(text)
   end
   print = function(...) -- luacheck: ignore 121
      say("stdout", ...)
   end
   debug.getmetatable("").__index = strings()
   require "graft"
end

return guest
