-- The test runner: `lua5.4 tests/lua/run.lua FILE_spec.lua [PATTERN]` runs one file of tests in stock Lua with the
-- module build/graft.so, prints one line a test that failed or was skipped, and ends with `# N passed, N failed, N skipped`.
--
-- Inside a file: describe(NAME, fn), it(NAME, fn), pending(NAME or reason), before_each(fn), after_each(fn),
-- skip(reason) inside a test, and the table `assert` below, which still works as Lua's own function.
-- A line `-- needs: NAME` among the first lines of a file skips the file unless that environment variable is set.

local build = os.getenv "GRAFT_BUILD" or "build"
package.cpath = build .. "/?.so;" .. package.cpath
package.path = "tests/lua/?.lua;" .. package.path

local file, filter = ...
if not file then
  io.stderr:write("usage: lua5.4 tests/lua/run.lua FILE_spec.lua [PATTERN]\n")
  os.exit(2)
end

local passed, failed, skipped = 0, 0, 0
local groups = {} -- the open describe blocks: { name, before = {}, after = {} }

-- ---- values in messages ----

local function show(value, depth)
  depth = depth or 0
  if type(value) == "string" then
    return string.format("%q", #value > 300 and value:sub(1, 300) .. "..." or value)
  elseif type(value) ~= "table" or depth > 3 then
    return tostring(value)
  end
  local mt = getmetatable(value)
  if mt and type(mt) == "table" and mt.__tostring then
    return tostring(value)
  end
  local parts, count = {}, 0
  for k, v in pairs(value) do
    count = count + 1
    if count > 20 then
      parts[#parts + 1] = "..."
      break
    end
    parts[#parts + 1] = (math.type(k) == "integer" and "" or tostring(k) .. " = ") .. show(v, depth + 1)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if a == b or (a ~= a and b ~= b) then
    return true
  elseif type(a) ~= "table" or type(b) ~= "table" then
    return false
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

-- ---- assert ----

local Failure = { __tostring = function(self) return self.message end }

local function fail(format, ...)
  error(setmetatable({ message = string.format(format, ...) }, Failure), 0)
end

local check = {}

local function note(message)
  return message and " (" .. tostring(message) .. ")" or ""
end

function check.equal(expected, actual, message)
  if expected ~= actual then
    fail("expected %s, got %s%s", show(expected), show(actual), note(message))
  end
end

function check.not_equal(unexpected, actual, message)
  if unexpected == actual then
    fail("did not expect %s%s", show(actual), note(message))
  end
end

-- Tables are compared by what they hold, all levels down.
function check.same(expected, actual, message)
  if not same(expected, actual) then
    fail("expected %s, got %s%s", show(expected), show(actual), note(message))
  end
end

function check.not_same(unexpected, actual, message)
  if same(unexpected, actual) then
    fail("did not expect %s%s", show(actual), note(message))
  end
end

-- Numbers, or (nested) tables of numbers, that differ by at most `tolerance` (1e-6).
function check.near(expected, actual, tolerance, message)
  tolerance = tolerance or 1e-6
  local function compare(e, a, where)
    if type(e) == "table" and type(a) == "table" then
      if #e ~= #a then
        fail("expected %d numbers%s, got %d%s", #e, where, #a, note(message))
      end
      for i = 1, #e do
        compare(e[i], a[i], where .. "[" .. i .. "]")
      end
    elseif type(e) ~= "number" or type(a) ~= "number" or not (math.abs(e - a) <= tolerance) then
      fail("expected %s within %g%s, got %s%s", show(e), tolerance, where, show(a), note(message))
    end
  end
  compare(expected, actual, "")
end

function check.is_true(value, message)
  if value ~= true then
    fail("expected true, got %s%s", show(value), note(message))
  end
end

function check.is_false(value, message)
  if value ~= false then
    fail("expected false, got %s%s", show(value), note(message))
  end
end

function check.is_nil(value, message)
  if value ~= nil then
    fail("expected nil, got %s%s", show(value), note(message))
  end
end

function check.is_not_nil(value, message)
  if value == nil then
    fail("expected a value, got nil%s", note(message))
  end
end

function check.truthy(value, message)
  if not value then
    fail("expected something true, got %s%s", show(value), note(message))
  end
end

function check.falsy(value, message)
  if value then
    fail("expected nil or false, got %s%s", show(value), note(message))
  end
end

for _, name in ipairs { "string", "number", "table", "function", "boolean", "userdata" } do
  check["is_" .. name] = function(value, message)
    if type(value) ~= name then
      fail("expected a %s, got %s%s", name, show(value), note(message))
    end
  end
end

-- `text` holds the Lua pattern; `plain` looks for the words as they are.
function check.matches(pattern, text, message)
  if type(text) ~= "string" or not text:find(pattern) then
    fail("expected a match of %s, got %s%s", show(pattern), show(text), note(message))
  end
end

function check.contains(words, text, message)
  if type(text) ~= "string" or not text:find(words, 1, true) then
    fail("expected %s in %s%s", show(words), show(text), note(message))
  end
end

-- Calls fn, which has to raise; returns the error. With a pattern its text has to match.
function check.error_matches(fn, pattern, message)
  local ok, err = pcall(fn)
  if ok then
    fail("expected an error%s%s", pattern and " that matches " .. show(pattern) or "", note(message))
  end
  if pattern and not tostring(err):find(pattern) then
    fail("expected an error that matches %s, got %s%s", show(pattern), show(tostring(err)), note(message))
  end
  return err
end

function check.has_error(fn, expected)
  local err = check.error_matches(fn)
  if expected ~= nil and not same(expected, err) then
    fail("expected the error %s, got %s", show(expected), show(err))
  end
  return err
end

function check.has_no_error(fn)
  local ok, err = pcall(fn)
  if not ok then
    fail("expected no error, got %s", tostring(err))
  end
end

check.equals, check.are_equal, check.are_same = check.equal, check.equal, check.same
check.is_truthy, check.is_falsy, check.is_not_true = check.truthy, check.falsy, check.falsy
check.error, check.no_error = check.has_error, check.has_no_error
-- assert.are.equal, assert.is.truthy, assert.is_not.same ...: small words are read over.
local plain = setmetatable({}, { __index = function(_, k) return check[k] or check["is_" .. k] or check["has_" .. k] end })
local negated = setmetatable({}, { __index = function(_, k) return check["not_" .. k] or check["is_not_" .. k] end })
check.are, check.is, check.has, check.has_no = plain, plain, plain, { error = check.has_no_error, errors = check.has_no_error }
check.is_not, check.are_not = negated, negated

_G.assert = setmetatable(check, {
  __call = function(_, value, message, ...)
    if value then
      return value, message, ...
    elseif message == nil or type(message) == "string" then
      fail("%s", message or "assertion failed")
    end
    error(message, 0)
  end,
  __index = function(_, name) error("the test runner has no assert." .. tostring(name), 2) end,
})

-- ---- tests ----

-- Where in the test file the error came from, and its text.
local function handler(err)
  if type(err) == "table" and rawget(err, "skipped") then
    return err
  end
  local where
  for level = 2, 60 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      break
    elseif info.short_src == file and info.currentline > 0 then
      where = info.short_src .. ":" .. info.currentline
      break
    end
  end
  local text = tostring(err)
  local trace = getmetatable(err) ~= Failure and debug.traceback("", 2) or nil
  return { where = where or file, text = text, trace = trace }
end

local function full_name(name)
  local names = {}
  for _, group in ipairs(groups) do
    names[#names + 1] = group.name
  end
  names[#names + 1] = name
  return table.concat(names, " ")
end

local function record(name, ok, err)
  if ok then
    passed = passed + 1
  elseif err.skipped then
    skipped = skipped + 1
    print("skip " .. name .. ": " .. err.skipped)
  else
    failed = failed + 1
    print("FAIL " .. name .. "\n     " .. err.where .. ": " .. err.text:gsub("\n", "\n     "))
    if err.trace then
      print((err.trace:gsub("^\nstack traceback:\n", ""):gsub("\n[^\n]*xpcall.*", ""):gsub("\t", "       ")))
    end
  end
end

function _G.describe(name, fn)
  groups[#groups + 1] = { name = name, before = {}, after = {} }
  local ok, err = xpcall(fn, handler)
  if not ok then
    record(full_name "(the block itself)", false, err)
  end
  groups[#groups] = nil
end

function _G.it(name, fn)
  local title = full_name(name)
  if filter and not title:find(filter) then
    return
  end
  local ok, err = xpcall(function()
    for _, group in ipairs(groups) do
      for _, before in ipairs(group.before) do
        before()
      end
    end
    fn()
  end, handler)
  for i = #groups, 1, -1 do
    for _, after in ipairs(groups[i].after) do
      local ended, problem = xpcall(after, handler)
      if ok and not ended then
        ok, err = false, problem
      end
    end
  end
  record(title, ok, err)
end

function _G.before_each(fn)
  table.insert(groups[#groups].before, fn)
end

function _G.after_each(fn)
  table.insert(groups[#groups].after, fn)
end

function _G.skip(reason)
  error({ skipped = reason or "no reason given" }, 0)
end

function _G.pending(name)
  record(full_name(name), false, { skipped = "pending" })
end

-- ---- the file ----

local function missing_need()
  local lines = 0
  for line in io.lines(file) do
    local name = line:match "^%-%- needs: ([%w_]+)"
    if name and not os.getenv(name) then
      return name
    end
    lines = lines + 1
    if lines == 20 then
      break
    end
  end
end

groups[1] = { name = file:match "([^/]+)_spec%.lua$" or file, before = {}, after = {} }
local need = missing_need()
if need then
  record(full_name "(whole file)", false, { skipped = need .. " is not set" })
else
  local chunk, problem = loadfile(file)
  if not chunk then
    record(full_name "(loading)", false, { where = file, text = problem })
  else
    local ok, err = xpcall(chunk, handler)
    if not ok then
      record(full_name "(outside of tests)", false, err)
    end
  end
end

print(string.format("# %d passed, %d failed, %d skipped", passed, failed, skipped))
io.stdout:flush()
os.exit(failed == 0, true)
