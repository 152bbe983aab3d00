-- graft.options: what a recipe declares, what a person types, and what --help says. Mistakes of the person end with 2 and
-- name the nearest right option; mistakes of the recipe end with 1 and name its line.
local helpers = require "helpers"
local core = require "graft.core"
local options = require "graft.options"

local function declare(args, declared)
  local context = { args = args, who = "test.lua" }
  return options.declare(declared, context), context
end

-- Every kind of option that there is.
local all = [[
-- Shows what it was given. The rest is not in the help.
local graft = require "graft"
local opt = graft.options {
  count = { type = "integer", min = 1, max = 9, default = 3, help = "how many" },
  low = { type = "integer", max = 0 },
  share = { type = "number", min = 0, default = 1 },
  rate = 0.5,
  flag = false,
  fast = true,
  mode = { choices = { "quick", "slow" }, default = "slow", help = "how" },
  name = "nobody",
  two_words = { type = "string" },
  photos = { type = "folder", help = "where they are" },
  list = { type = "file" },
}
for _, key in ipairs { "count", "low", "share", "rate", "flag", "fast", "mode", "name", "two_words", "photos", "list" } do
  print(key .. "=" .. tostring(opt[key]))
end
]]
local recipe = helpers.recipe(all, "all.lua")

local function told(...)
  local text = helpers.done({ "run", recipe, ... }).out
  return function(key)
    return ("\n" .. text):match("\n" .. key .. "=([^\n]*)")
  end
end

describe("options on the command line", function()
  it("have the declared defaults", function()
    local value = told()
    for key, text in pairs { count = "3", low = "nil", share = "1.0", rate = "0.5", flag = "false", fast = "true", mode = "slow",
      name = "nobody", two_words = "nil", photos = "nil", list = "nil" } do
      assert.equal(text, value(key), key)
    end
  end)
  it("are converted to the declared types, after a blank or \"=\"", function()
    local value = told("--count", "7", "--low=-3", "--share", "1e-3", "--rate=2", "--flag", "--no-fast", "--mode", "quick",
      "--name=--x = y", "--two-words", "a b", "--photos", ".", "--list", recipe)
    for key, text in pairs { count = "7", low = "-3", share = "0.001", rate = "2.0", flag = "true", fast = "false",
      mode = "quick", name = "--x = y", two_words = "a b", photos = ".", list = recipe } do
      assert.equal(text, value(key), key)
    end
    assert.equal("false", told("--flag", "false")("flag"))
    assert.equal("false", told("--flag=no")("flag"))
    assert.equal("true", told("--no-fast", "--fast")("fast"), "the last one counts")
    assert.equal("x", told("--two_words", "x")("two_words"))
  end)
  it("that are malformed end with 2, and say what is expected and what came", function()
    for _, case in ipairs {
      { { "--count", "many" }, "--count: expected a whole number, got \"many\"" },
      { { "--count", "2.5" }, "whole number" },
      { { "--count", "0" }, "--count: expected 1 to 9, got 0" },
      { { "--count=99999999999999999999" }, "whole number" },
      { { "--low", "1" }, "--low: expected at most 0, got 1" },
      { { "--share", "-0.5" }, "--share: expected 0 or more, got -0.5" },
      { { "--rate", "1e999" }, "--rate: expected a number" },
      { { "--rate", "nan" }, "--rate: expected a number" },
      { { "--flag=maybe" }, "--flag: expected true or false, got \"maybe\"" },
      { { "--no-flag=true" }, "--no-flag takes no value" },
      { { "--no-count" }, "no option --no-count" },
      { { "--mode", "quikc" }, "--mode: expected one of quick, slow, got \"quikc\"; nearest: \"quick\"" },
      { { "--photos=" }, "--photos: expected a folder, got an empty text" },
      { { "--list", "" }, "--list: expected a file, got an empty text" },
      { { "--rate" }, "--rate needs a value (X)" },
      { { "--name", "--flag" }, { "--name needs a value (TEXT)", "--name=--flag" } },
      { { "stray" }, "stray" },
      { { "--seed", "--json" }, "--seed needs a value (N)" },
    } do
      helpers.refused({ "run", recipe, table.unpack(case[1]) }, 2, case[2])
      helpers.refused({ "plan", recipe, table.unpack(case[1]) }, 2, case[2])
    end
  end)
  it("that are unknown end with 2 and name the nearest, of the recipe or of graft itself", function()
    helpers.refused({ "run", recipe, "--cuont", "3" }, 2, "nearest: --count (integer, default 3)")
    helpers.refused({ "run", recipe, "--two-word=3" }, 2, "nearest: --two-words (string)")
    helpers.refused({ "run", recipe, "--thread", "3" }, 2, "nearest: --threads (integer)")
    helpers.refused({ "run", recipe, "--xyzzyx", "3" }, 2, "it has: --count --fast --flag")
    helpers.refused({ "predict", "--jsno", "x" }, 2, "nearest: --json")
  end)
end)

describe("--help", function()
  it("says what a recipe is for, and of each option: type, range, choices, default", function()
    for _, command in ipairs { "run", "plan" } do
      local text = helpers.done({ command, recipe, "--help" }).out
      assert.contains(("usage: graft %s %s [OPTIONS]"):format(command, recipe), text)
      assert.contains("Shows what it was given.\n", text)
      assert.falsy(text:find "The rest")
      for _, row in ipairs { "%-%-count N +how many; whole number, 1 to 9; default 3\n", "%-%-low N +whole number, at most 0\n",
        "%-%-share X +number, 0 or more; default 1%.0\n", "%-%-rate X +number; default 0%.5\n", "%-%-flag\n",
        "%-%-no%-fast +default on\n", "%-%-mode CHOICE +how; one of quick, slow; default slow\n",
        "%-%-name TEXT +default nobody\n", "%-%-two%-words TEXT\n", "%-%-photos DIR +where they are\n", "%-%-list FILE\n",
        "%-%-out DIR +run folder" } do
        assert.matches(row, text)
      end
    end
  end)
  it("lists the options sorted by name, graft's own after them", function()
    local names = {}
    for name in helpers.done({ "run", recipe, "--help" }).out:gmatch "\n  %-%-([%a-]+)" do
      names[#names + 1] = name
    end
    assert.same({ "count", "no-fast", "flag", "list", "low", "mode", "name", "photos", "rate", "share", "two-words", "out",
      "resume" }, table.move(names, 1, 13, 1, {}))
  end)
  it("works for every recipe that comes with Graft, and tells each option's kind", function()
    for _, name in ipairs(require("graft.recipe").shipped()) do
      for _, command in ipairs { "run", "plan" } do
        local result = helpers.done { command, name, "--help" }
        assert.contains("usage: graft " .. command .. " " .. name, result.out)
        assert.contains("options of this recipe", result.out)
        assert.equal("", result.err)
        for kind in result.out:match "^(.*)\n  %-%-out DIR":gmatch "\n  %-%-%S+ ([%u]+)  " do
          assert.truthy(({ DIR = 1, FILE = 1, N = 1, X = 1, TEXT = 1, CHOICE = 1 })[kind], kind)
        end
      end
    end
  end)
  it("never trains or writes, also where the recipe declares nothing", function()
    local out = helpers.fresh "helped"
    local text = ([[
      -- the word options is here, the call is not
      local graft = require "graft"
      graft.out "x"
      io.stderr:write "went on"
    ]])
    local result = helpers.done { "run", helpers.recipe(text), "--help", "--out", out }
    assert.contains("options of every recipe", result.out)
    assert.falsy(result.err:find "went on")
    assert.is_nil(core.stat(out))
  end)
end)

describe("a bad declaration", function()
  it("is an error with the recipe's line", function()
    for _, case in ipairs {
      { "count = { type = 'integr' }", 'one of boolean, choice, file, folder, integer, number, string; nearest: "integer"' },
      { "count = { help = 'x' }", "type must be one of" },
      { "count = { type = 'integer', defualt = 3 }", 'nearest: "default"' },
      { "count = { type = 'integer', default = 'three' }", "default: expected integer" },
      { "count = { type = 'integer', default = 2.5 }", "default: expected integer" },
      { "count = { type = 'integer', min = 5, default = 3 }", "default 3 is not 5 or more" },
      { "count = { type = 'integer', min = 5, max = 3 }", "min 5 is above max 3" },
      { "count = { type = 'integer', min = 0.5 }", "min must be a whole number" },
      { "count = { type = 'string', min = 5 }", "min belongs to integers and numbers" },
      { "rate = { type = 'number', default = 1/0 }", "no number to work with" },
      { "mode = { type = 'choice' }", "a choice needs choices" },
      { "mode = { choices = {} }", "a choice needs choices" },
      { "mode = { choices = { 1, 2 } }", "choices: entry 1: expected string" },
      { "mode = { choices = { 'a', 'b' }, default = 'c' }", 'default "c" is not one of a, b' },
      { "mode = { type = 'string', choices = { 'a' } }", 'choices belong to type "choice"' },
      { "flag = { type = 'boolean', default = 1 }", "default: expected boolean" },
      { "data = { type = 'folder', default = 3 }", "default: expected string" },
      { "f = print", "expected a default or {type=, help=, default=}, got a function" },
      { "seed = 3", "--seed belongs to graft itself" },
      { "layers = 3", "--layers belongs to graft itself" },
      { "['two words'] = 3", "is not a name for an option" },
      { "'epochs'", "is not a name for an option" },
    } do
      local file = helpers.recipe('local graft = require "graft"\n\nlocal opt = graft.options { ' .. case[1] .. " }\n", "bad.lua")
      helpers.refused({ "run", file }, 1, { "bad.lua:3", "graft.options: ", case[2] })
      helpers.refused({ "plan", file, "--help" }, 1, { "bad.lua:3", case[2] })
    end
    local twice = helpers.recipe('local graft = require "graft"\ngraft.options {}\ngraft.options {}\n', "twice.lua")
    helpers.refused({ "run", twice }, 1, { "twice.lua:3", "once" })
  end)
  it("says the same of several mistakes every time", function()
    for _ = 1, 5 do
      assert.error_matches(function()
        declare({}, { z = { type = "x" }, y = { type = "x" }, a = { type = "x" } })
      end, "graft.options: a: type")
    end
  end)
end)

describe("graft.options", function()
  it("tells which options are paths", function()
    local _, context = declare({ "--data", "x" }, { data = { type = "folder" }, weights = { type = "file" },
      z = { type = "file", default = "y" }, epochs = 3 })
    assert.same({ "data", "z" }, context.paths)
    assert.equal(3, context.values.epochs)
  end)
end)
