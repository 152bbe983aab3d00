-- Calls every function of Graft's with arguments that nobody expects, and then in orders that nobody expects.
--
--   lua5.4 tests/fuzz/api.lua [--seed N] [--part K/N] [--sequences N] [--seconds N] [--only WORD] [--calls FILE]
--
-- Run it in an empty folder: files are written there. GRAFT_BUILD is the folder of graft.so; the program runs it too
-- (graft -e 'loadfile("tests/fuzz/api.lua")("--seed", "2")'), with what only the program has. Each call must end within 5
-- seconds and either succeed or raise an error that is Graft's, Lua's text, or what the caller's own function raised;
-- functions for recipes raise Graft's alone. What was called last stands in the file --calls (last-call) when a call
-- ended the process. The matrix has every function x every argument x every hostile value, and every field of option
-- tables likewise; --part 1/20 makes every 20th call of it. The sequences call random functions on what earlier calls
-- gave; with --seconds they go on until so many have passed. The last line tells the number of calls; the exit status is 1 when a call went wrong.
local words = { ... }
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
package.cpath = (os.getenv "GRAFT_BUILD" or "build") .. "/?.so;" .. package.cpath
package.path = here .. "/?.lua;" .. package.path

local settings = { seed = 1, part = 1, of = 1, sequences = 20000, calls = "last-call" }
for i = 1, #words, 2 do
  local key, value = words[i]:match "^%-%-(%a+)$", words[i + 1]
  if key == "part" then
    settings.part, settings.of = value:match "^(%d+)/(%d+)$"
    settings.part, settings.of = tonumber(settings.part), tonumber(settings.of)
  else
    settings[key] = tonumber(value) or value
  end
end

local graft = require "graft"
local core = require "graft.core"
local context = require "graft.context"
local hostile = require "hostile"
local targets = require "targets"

local LIMIT = 256 << 20
local journal = assert(io.open(settings.calls, "w"))
journal:setvbuf "no"
graft.config { progress = false }
io.stdout:setvbuf "no"
local say = io.stdout
io.output(assert(io.open("/dev/null", "w"))) -- what graft.image.show and graft.plan print is not looked at
io.stdout = io.output()
function _G.print() end

-- ---- random numbers of our own: the same calls on every machine ----

local state = settings.seed
local function random(n)
  state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
  return (state >> 20) % n + 1
end

-- ---- one call ----

local calls, refused, problems = 0, 0, {}
local last_error

local function problem(what, name)
  if #problems < 200 then
    problems[#problems + 1] = name .. ": " .. what
    say:write("     ", name, ": ", what, "\n")
  end
end

local function judge(name, err, public)
  local kind = type(err)
  if rawequal(err, hostile.marker) or core.is_error(err) or (kind == "table" and (rawget(err, "exit") or rawget(err,
    "planned"))) then
    if core.is_error(err) and type(err.message) ~= "string" then
      problem("an error without a message", name)
    end
    return
  end
  if kind ~= "string" then
    problem("raised a " .. kind, name)
  elseif public and not (err:find("not enough memory", 1, true) or err:find("attempt to yield", 1, true)) then
    problem("raised a plain text: " .. err:sub(1, 200), name)
  end
end

local function settle()
  core.memory(LIMIT)
  if core.threads() ~= 2 then
    core.threads(2)
  end
  core.fit(1)
  core.seed(1)
  core.clear_interrupt()
  context.options = { args = {}, who = "this program" }
  context.out, context.data, context.weights, context.runs = nil, nil, {}, {}
end

-- Calls f with the packed arguments and judges what comes. Returns the results, packed, when it succeeded.
local function call(name, f, arguments, public)
  journal:seek "set"
  journal:write(name, (" "):rep(200 - #name), "\n")
  calls = calls + 1
  hostile.present = { table.unpack(arguments, 1, arguments.n) }
  if calls % 3 == 0 then -- a finalizer that may run anywhere in the call
    setmetatable({}, { __gc = hostile.meddle })
  end
  local started = core.clock()
  local thread = coroutine.create(f) -- so that a yield comes back here
  local results = table.pack(coroutine.resume(thread, table.unpack(arguments, 1, arguments.n)))
  coroutine.close(thread)
  hostile.present = {}
  local spent = core.clock() - started
  if spent > (tonumber(os.getenv "FUZZ_PATIENCE") or 5) then
    problem(("took %.1f s"):format(spent), name)
  end
  settle()
  if results[1] then
    return table.pack(table.unpack(results, 2, results.n))
  end
  refused = refused + 1
  last_error = results[2]
  judge(name, results[2], public)
end

-- ---- the matrix ----

local counted = 0

-- Is it the turn of this call in our part of the matrix?
local function turn()
  counted = counted + 1
  return counted % settings.of == settings.part % settings.of
end

local function is_plain(value)
  return type(value) == "table" and debug.getmetatable(value) == nil
end

local function shown(key)
  return math.type(key) and tostring(key) or type(key) == "string" and key or type(key)
end

-- Keys of a plain table in a fixed order.
local function keys_of(t)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return shown(a) < shown(b) end)
  return keys
end

-- Calls `visit(name, change)` for every place in the arguments that can be spoilt; change(arguments, value) does so.
local function places(arguments, visit)
  for i = 1, math.max(arguments.n, 1) + 1 do
    visit(("argument %d"):format(i), function(a, value)
      a[i], a.n = value, math.max(a.n, i)
    end)
    if is_plain(arguments[i]) then
      for _, key in ipairs(keys_of(arguments[i])) do
        visit(("argument %d, %s"):format(i, shown(key)), function(a, value)
          a[i][key] = value
        end)
        local inner = arguments[i][key]
        for _, deeper in ipairs(is_plain(inner) and keys_of(inner) or {}) do
          visit(("argument %d, %s.%s"):format(i, shown(key), shown(deeper)), function(a, value)
            a[i][key][deeper] = value
          end)
        end
      end
    end
  end
  visit("all arguments", function(a, value)
    for i = 1, math.max(a.n, 1) do
      a[i] = value
    end
  end)
end

-- Plain tables are copied, so that a spoilt field does not stay.
local function copied(value, depth)
  if not is_plain(value) or depth > 3 then
    return value
  end
  local copy = {}
  for key, inner in next, value do
    copy[key] = copied(inner, depth + 1)
  end
  return copy
end

local function proper(target)
  local arguments = table.pack(target.arguments())
  for i = 1, arguments.n do
    arguments[i] = copied(arguments[i], 1)
  end
  return arguments
end

-- The first argument of a method is the object: with another one `object.method` is the script's own mistake.
local function is_object(target, place)
  return target.public and target.name:find ":" and (place == "argument 1" or place == "all arguments")
end

local function matrix(target)
  local ok, sample = pcall(proper, target)
  if not ok then
    return problem("no proper arguments: " .. tostring(sample), target.name)
  end
  if turn() then
    local results = call(target.name .. " as it should be", target.get, sample, target.public)
    if not results and not target.refuses then
      problem("proper arguments were refused: " .. tostring(last_error), target.name)
    end
    sample = proper(target)
  end
  for n = 0, sample.n - 1 do
    if turn() then
      local arguments = proper(target)
      arguments.n = n
      call(("%s with %d arguments"):format(target.name, n), target.get, arguments, target.public and n > 0)
    end
  end
  places(sample, function(place, change)
    for _, value in ipairs(hostile.values) do
      if turn() then
        local arguments = proper(target)
        change(arguments, value[2]())
        call(("%s, %s: %s"):format(target.name, place, value[1]), target.get, arguments,
          target.public and not is_object(target, place))
      end
    end
  end)
end

-- ---- sequences ----

-- What calls gave and took; random ones are thrown away when there are many.
local pool = {}

local function keep(value)
  if type(value) ~= "userdata" and type(value) ~= "table" and type(value) ~= "function" then
    return
  end
  if #pool < 60 then
    pool[#pool + 1] = value
  else
    pool[random(#pool)] = value
  end
end

local function pick(own)
  local choice = random(10)
  if choice <= 5 then
    return own
  elseif choice <= 8 and #pool > 0 then
    return pool[random(#pool)]
  end
  return hostile.values[random(#hostile.values)][2]()
end

local slow = { ["graft.fit"] = true, ["graft.fine_tune"] = true, ["graft.plan"] = true, ["core.threads"] = true }

local function sequence_step()
  local target
  repeat
    target = targets[random(#targets)]
  until not slow[target.name] or random(20) == 1
  local arguments = proper(target)
  for i = 1, arguments.n do
    arguments[i] = pick(arguments[i])
    if is_plain(arguments[i]) and random(4) == 1 then
      local keys = keys_of(arguments[i])
      if #keys > 0 then
        arguments[i] = copied(arguments[i], 1)
        arguments[i][keys[random(#keys)]] = pick(true)
      end
    end
  end
  if random(30) == 1 then
    collectgarbage()
  end
  if random(5) == 1 then -- memory ends somewhere in the call
    core.memory(core.memory().live + random(2) * random(30000))
  end
  local results = call("call " .. calls .. ": " .. target.name, target.get, arguments, false)
  for i = 1, arguments.n do
    keep(arguments[i])
  end
  for i = 1, results and math.min(results.n, 4) or 0 do
    keep(results[i])
  end
end

-- ---- all of it ----

hostile.makers.dataset()
settle()
local only = settings.only
for _, target in ipairs(targets) do
  if not only or target.name:find(only, 1, true) then
    matrix(target)
    if #target.name % 4 == 0 then
      collectgarbage()
    end
  end
end
local in_matrix = calls
if not only then
  local done, started = 0, core.clock()
  while (settings.seconds and core.clock() - started < settings.seconds) or done < settings.sequences do
    sequence_step()
    done = done + 1
  end
end
pool = nil
collectgarbage()
collectgarbage()
journal:seek "set"
journal:write("the end", (" "):rep(200), "\n")
say:write(("# seed %d: %d calls of %d functions in the matrix, %d in sequences; %d refused, %d wrong\n"):format(
  settings.seed, in_matrix, #targets, calls - in_matrix, refused, #problems))
os.exit(#problems == 0, true)
