-- Runs every example of the reference, and every call that it says raises, in the present folder, which reference_spec.lua
-- has filled. Prints one JSON document: {problems = list of texts, options = {function = {option = list of types}}}.
--
--   lua5.4 reference_examples.lua BUILD

package.cpath = arg[1] .. "/?.so;" .. package.cpath

local graft = require "graft"
local core = require "graft.core"
local context = require "graft.context"
local strict = require "graft.strict"
local reference = require "graft.reference"

-- Which options each function takes, noted while the examples run: by its first check, since it may pass some on later.
local asked = {}
local options_of = strict.options
function strict.options(options, who, types)
  if not asked[who] then
    asked[who] = {}
    for key, wanted in pairs(types) do
      asked[who][key] = type(wanted) == "table" and wanted or { wanted }
    end
  end
  return options_of(options, who, types)
end

local problems = {}
local function problem(name, format, ...)
  problems[#problems + 1] = ("%s: " .. format):format(name, ...)
end

-- The names that an example may use, each made when it is first read.
local function environment()
  local env = {}
  local known = setmetatable({ graft = graft, print = function() end }, { __index = _G })
  return setmetatable(env, { __index = function(_, key)
    for _, made in ipairs(reference.preamble) do
      if made[1] == key then
        env[key] = assert(load("return " .. made[2], "=" .. key, "t", env))()
        return env[key]
      end
    end
    return known[key]
  end })
end

-- As in a program that has just started.
local function begin()
  context.options = { args = {}, who = "an example" }
  context.out, context.data, context.weights, context.modes, context.runs = nil, nil, {}, {}, {}
  core.seed(1)
  core.threads(1)
end

local function words(...)
  local list = table.pack(...)
  for i = 1, list.n do
    list[i] = tostring(list[i])
  end
  return table.concat(list, "  ")
end

local function run(name, source)
  local env = environment()
  env.expect = function(wanted, ...)
    local printed = words(...)
    if printed ~= wanted then
      problem(name, "the example prints %q, and says %q", printed, wanted)
    end
  end
  local checked = source:gsub("print(%b())%s+%-%-> ([^\n]*)", function(arguments, text)
    return ("expect(%q, %s)"):format(text, arguments:sub(2, -2))
  end)
  begin()
  local chunk, message = load(checked, "=" .. name, "t", env)
  if not chunk then
    return problem(name, "the example does not compile: %s", message)
  end
  return pcall(chunk)
end

io.stdout:setvbuf "full"
local out = io.open("report.json", "w")
for _, entry in ipairs(reference.entries()) do
  local started = os.clock()
  if entry.example then
    local ok, failure = run(entry.name, entry.example)
    if not ok then
      problem(entry.name, "the example fails: %s", tostring(failure))
    end
  end
  for _, expected in ipairs(entry.errors or {}) do
    if expected[3] then
      local ok, failure = run(entry.name, expected[3])
      if ok then
        problem(entry.name, "%s raises nothing", expected[3])
      elseif not core.is_error(failure) or failure.kind ~= expected[1] then
        problem(entry.name, "%s raises kind %s, not %s: %s", expected[3], core.is_error(failure) and failure.kind or "?",
          expected[1], tostring(failure))
      end
    end
  end
  if os.getenv "REFERENCE_TIMES" and os.clock() - started > 0.1 then
    io.stderr:write(("%5.2f s  %s\n"):format(os.clock() - started, entry.name))
  end
  collectgarbage()
end
out:write(core.json { problems = core.array(problems), options = asked })
out:close()
