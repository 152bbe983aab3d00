-- graft as a module of other programs: stock Lua, older Luas. Each test is a process of its own.

local build = os.getenv "GRAFT_BUILD" or "build"
local lua = os.getenv "LUA" or "lua5.4"

-- Runs a chunk and returns what it printed and whether it ended well.
local function run(interpreter, chunk)
  local path = os.tmpname()
  local file = io.open(path, "w")
  file:write(("package.cpath = %q .. ';' .. package.cpath\n%s"):format(build .. "/?.so", chunk))
  file:close()
  local pipe = io.popen(interpreter .. " " .. path .. " 2>&1")
  local text = pipe:read("a")
  local ok = pipe:close()
  os.remove(path)
  return text, ok
end

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1")
end

describe("the module", function()
  it("changes no global, prints nothing and knows that it is a guest", function()
    local text, ok = run(lua, [[
      local before, random = {}, math.random
      for key, value in pairs(_G) do before[key] = value end
      local graft = require "graft"
      for key, value in pairs(_G) do assert(before[key] == value, key) end
      assert(math.random == random)
      assert(require "graft.core".program == false)
      assert(require "graft" == graft)
      print "done"]])
    assert.equal("done\n", text)
    assert.truthy(ok)
  end)

  it("raises errors that print well", function()
    local text, ok = run(lua, 'require "graft"\nrequire("graft.core").weights("/no/such/file")')
    assert.contains("/no/such/file", text)
    assert.falsy(ok)
  end)

  it("leaves nothing running when the state ends with things open", function()
    local text, ok = run(lua, [[
      require "graft"
      local core = require "graft.core"
      local net = core.network("n", { 3, 8, 8 })
      net:add("global_avg_pool", "p", nil, { "input" })
      net:add("linear", "fc", { out = 2 }, { "p" })
      net:finish { output = "fc", head = "fc" }
      net:set_classes { "a", "b" }
      keep = core.trainer(net, { optimizer = { kind = "sgd", lr = 1 } })
      keep:step(core.tensor.randn(2, 3, 8, 8), { "a", "b" })
      print "done"]])
    assert.equal("done\n", text)
    assert.truthy(ok)
  end)

  for _, old in ipairs { "lua5.1", "luajit", "lua5.3" } do
    it("tells " .. old .. " in one sentence that it is not for it", function()
      if not has(old) then
        skip(old .. " is not installed")
      end
      if os.getenv "SANITIZED" then
        skip("the sanitizer is for Lua 5.4 alone")
      end
      local text = run(old, 'print(select(2, pcall(require, "graft")))')
      assert.contains("graft needs Lua 5.4", text)
      assert.contains("--json", text)
    end)
  end
end)
