-- The core table: state, text, JSON, files.
require "graft"
local core = require "graft.core"

local function temporary()
  local path = os.tmpname()
  os.remove(path)
  core.make_folder(path)
  return path
end

describe("core's state", function()
  it("keeps a seed", function()
    local before = core.seed()
    assert.equal(7, core.seed(7))
    assert.equal(7, core.seed())
    core.seed(before)
  end)

  it("draws the same numbers from the same key", function()
    assert.same(core.random("sample", 1, 2, 3, 4), core.random("sample", 1, 2, 3, 4))
    assert.not_same(core.random("sample", 1, 2, 3, 4), core.random("sample", 1, 2, 4, 4))
    local order = core.shuffle(100, 5)
    assert.same(order, core.shuffle(100, 5))
    table.sort(order)
    for i, value in ipairs(order) do
      assert.equal(i, value)
    end
  end)

  it("is no program here, and hears no signals", function()
    assert.is_false(core.program)
    assert.is_false(core.interrupted())
    assert.is_nil(core.signal())
  end)

  it("limits threads and memory to what makes sense", function()
    assert.error_matches(function() core.threads(-1) end, "threads must be 0")
    assert.error_matches(function() core.memory(-1) end, "limit must be 0")
    assert.is_number(core.memory().live)
  end)

  it("raises errors with their kind", function()
    local err = assert.error_matches(function() core.error("file", "it is gone", "near") end, "it is gone")
    assert.equal("file", err.kind)
    assert.equal("near", err.near)
    assert.is_true(core.is_error(err))
    assert.is_false(core.is_error({}))
    local _, usage = pcall(core.error, "option", "no such option", nil, true)
    assert.is_true(usage.usage)
  end)

  it("finds near names and matches globs", function()
    assert.equal("body", core.nearest("boby", { "head", "body" }))
    assert.is_nil(core.nearest("xyz", { "head", "body" }))
    assert.is_true(core.glob("layer*.conv?", "layer3.0.conv1"))
    assert.is_false(core.glob("layer?", "layer10"))
  end)
end)

describe("core's JSON", function()
  it("goes there and back", function()
    local value = { a = 1, b = { 1.5, "x", true, core.null }, c = core.array {}, d = {}, big = 9007199254740993 }
    local text = core.json(value)
    assert.equal('{"a":1,"b":[1.5,"x",true,null],"big":9007199254740993,"c":[],"d":{}}', text)
    local back = core.parse_json(text)
    assert.equal(1, back.a)
    assert.equal(core.null, back.b[4])
  end)

  it("refuses what is none", function()
    assert.error_matches(function() core.json { f = print } end, "function")
    assert.error_matches(function() core.parse_json("{\"a\":") end, "no JSON")
    assert.error_matches(function() core.parse_json("{} x") end, "no JSON")
    local circle = {}
    circle.circle = circle
    assert.error_matches(function() core.json(circle) end, "nested")
  end)
end)

describe("core's files", function()
  it("writes whole files, reads, lists and digests them", function()
    local folder = temporary()
    core.make_folder(folder .. "/a/b")
    core.make_folder(folder .. "/a/b")
    core.write(folder .. "/a/z.txt", "zed\0zed")
    core.write(folder .. "/a/.hidden", "")
    assert.equal("zed\0zed", core.read(folder .. "/a/z.txt"))
    assert.same({ "b", "z.txt" }, core.list(folder .. "/a"))
    assert.equal(core.digest("zed\0zed"), core.digest_file(folder .. "/a/z.txt"))
    assert.equal("folder", core.stat(folder .. "/a").kind)
    assert.equal(7, core.stat(folder .. "/a/z.txt").size)
    assert.is_nil(core.stat(folder .. "/nothing"))
    core.rename(folder .. "/a/z.txt", folder .. "/y.txt")
    assert.error_matches(function() core.read(folder .. "/a/z.txt") end, "z%.txt")
    assert.error_matches(function() core.make_folder(folder .. "/y.txt/c") end, "cannot be made")
    for _, name in ipairs { "y.txt", "a/.hidden", "a/b", "a", "" } do
      core.remove(folder .. "/" .. name)
    end
    assert.is_nil(core.stat(folder))
  end)

  it("refuses a path with a NUL byte", function()
    assert.error_matches(function() core.read("a\0b") end, "NUL")
  end)

  it("knows what is embedded", function()
    assert.is_nil(core.embedded("graft/nothing.lua"))
    assert.is_nil(core.embedded("../etc/passwd"))
    assert.contains("return", core.embedded("graft/init.lua"))
  end)
end)

describe("the module", function()
  it("answers a module that is not there as Lua does", function()
    assert.error_matches(function() require "graft.nothing" end, "no module 'graft.nothing'")
  end)
end)
