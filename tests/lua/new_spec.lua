-- graft new: a recipe for each cell of the table, by options or by questions, that can be planned and run at once.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()
local cells = { "little-similar", "much-similar", "little-different", "much-different" }

describe("graft new", function()
  for _, cell in ipairs(cells) do
    it("writes a recipe for " .. cell .. " that can be planned and run", function()
      local name = cell:gsub("-", "_")
      local said = helpers.done { "new", name, "--situation", cell, "--data", photos, "--weights", weights }
      local command = said.out:match "next +graft (plan [^\n]+)"
      assert.equal(("plan %s.lua --data %s --weights %s"):format(name, photos, weights), command)
      local text = helpers.read(helpers.path(name .. ".lua"))
      assert.contains("-- " .. name .. ": " .. (cell:find "little" and "little" or "more") .. " data that "
        .. (cell:find "similar" and "looks like" or "is unlike"), text)
      assert.contains("-- You are here (24 photos to train on, 8 a class):", text)
      assert.matches("> [^\n<]+ <", text)
      assert.falsy(text:find("RECIPE", 1, true))
      assert.falsy(text:find(photos, 1, true), "no path of this machine is written")
      local plan = helpers.done { "plan", name .. ".lua", "--data", photos, "--weights", weights }
      assert.contains("phase 1", plan.out)
      local words = { "run", name .. ".lua", "--data", photos, "--weights", weights, "--epochs", "2", "--out",
        helpers.fresh "run" }
      if cell == "little-different" then
        table.move({ "--try-epochs", "1" }, 1, 2, #words + 1, words)
      end
      assert.contains("accuracy", helpers.done(words).out)
    end)
  end

  it("has an arm from scratch where there is much data unlike ImageNet's", function()
    helpers.done { "new", "compare", "--situation", "much-different" }
    local result = helpers.done { "run", "compare.lua", "--data", photos, "--weights", weights, "--epochs", "1", "--scratch",
      "--out", helpers.fresh "run" }
    assert.falsy(result.err:find("head epoch", 1, true))
  end)

  it("writes recipes that can be shared", function()
    helpers.done { "new", "shared", "--situation", "little-similar" }
    local out, pack = helpers.fresh "run", helpers.fresh "pack" .. ".graft"
    helpers.done { "run", "shared.lua", "--data", photos, "--weights", weights, "--epochs", "1", "--out", out }
    helpers.done { "pack", out, pack }
    assert.contains("> train the head only <", helpers.done({ "inspect", pack }).out)
  end)

  it("takes what is left open from the data, and says so", function()
    local said = helpers.done { "new", "guessed", "--data", photos }
    assert.contains("8 photos a class, so little data (below 500)", said.err)
    assert.contains("similar is assumed; if not: --situation little-different", said.err)
    assert.contains("guessed.lua: train the head only (little-similar)", said.out)
    assert.contains("no weights yet?  graft help weights", said.out)
    local document = helpers.json { "new", "json", "--data", photos, "--situation", "much-similar" }
    assert.same({ "json.lua", "much-similar", 24, 8 }, { document.file, document.situation, document.photos,
      document.photos_a_class })
  end)

  it("overwrites nothing, and refuses names that are none", function()
    local file = helpers.write(helpers.path "mine.lua", "dear")
    for _, name in ipairs { "mine", "mine.lua" } do
      helpers.refused({ "new", name, "--situation", "little-similar" }, 1, { "is there already", "overwrites nothing" })
    end
    assert.equal("dear", helpers.read(file))
    helpers.refused({ "new", "nowhere/x", "--situation", "little-similar" }, 1, "no such folder")
    helpers.refused({ "new", "a b", "--situation", "little-similar" }, 2, "expected a name")
    helpers.refused({ "new", "../.x", "--situation", "little-similar" }, 2, "expected a name")
    helpers.refused({ "new" }, 2, "needs a name")
    helpers.refused({ "new", "x" }, 2, { "--situation", "--data" })
    helpers.refused({ "new", "x", "--situation", "little-similer" }, 2, 'nearest: "little-similar"')
    helpers.refused({ "new", "x", "--data", file }, 1, "expected a folder of photos")
    assert.is_nil(core.stat(helpers.path "x.lua"))
  end)
end)

describe("graft new on a terminal", function()
  -- Types the answers into a terminal of its own; returns all that it showed.
  local function typed(words, answers)
    if helpers.shell "command -v script" == "" then
      skip "script (bsdutils) is not installed"
    end
    local input = helpers.write(helpers.fresh "answers", answers)
    return helpers.shell(("cd '%s'; { sleep 0.5; while IFS= read -r line; do printf '%%s\\n' \"$line\"; sleep 0.2; done <'%s'; "
      .. "sleep 0.5; } | HOME='%s' SHELL=/bin/sh script -qec '%s %s' /dev/null 2>&1"):format(helpers.root, input, helpers.root,
      helpers.program, words))
  end

  it("asks for data, weights and likeness, and counts by itself", function()
    local shown = typed("new asked", ("nowhere\n%s\n%s\nmaybe\nn\n"):format(photos, weights))
    assert.contains("nowhere: no such folder", shown)
    assert.contains("24 photos of 3 classes, 8 a class: little data", shown)
    assert.contains("asked.lua: classifiers at several depths (little-different)", shown)
    assert.contains(("graft plan asked.lua --data %s --weights %s"):format(photos, weights), shown)
    assert.contains("> classifiers at several depths <", helpers.read(helpers.path "asked.lua"))
  end)

  it("asks how many photos there are where none are shown", function()
    local shown = typed("new open", "\n\ny\ny\n")
    assert.contains("open.lua: fine-tune the top (much-similar)", shown)
    assert.contains("graft plan open.lua --data PHOTOS --weights WEIGHTS", shown)
  end)

  it("asks nothing that the options answer", function()
    local shown = typed(("new given --situation much-different --data %s --weights %s"):format(photos, weights), "")
    assert.falsy(shown:find("y/n", 1, true))
    assert.contains("given.lua: fine-tune everything", shown)
  end)
end)
