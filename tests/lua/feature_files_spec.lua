-- Kept features in a run as a person starts it: files of the run folder, interruptions, a full disk, and what the plan says.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("kept", { "bowls", "mugs", "plates" }, 12)
local weights = helpers.weights()

local recipe = helpers.recipe([[
  local graft = require "graft"
  local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, freeze = "body", cache = "auto",
    memory = -1, augment = "none", epochs = 40, fits = 1 }
  local d = graft.data.folder(opt.data)
  local net = graft.load(opt.weights):replace_head(d)
  for name in opt.freeze:gmatch "%S+" do net:freeze(name) end
  local pool = math.tointeger(tonumber(opt.cache:match "^pool:(%d+)$"))
  local cache = opt.memory >= 0 and { pool = pool, memory = opt.memory } or opt.cache
  for i = 1, opt.fits do
    graft.fit(net, d, { epochs = opt.epochs, batch_size = 7, augment = opt.augment, cache = cache, keep = "last",
      optimizer = graft.sgd { lr = 0.05, momentum = 0.9, weight_decay = 1e-3 } })
  end
]], "kept.lua")

local function run(out, ...)
  return { "run", recipe, "--data", photos, "--weights", weights, "--out", out, ... }
end

local function files_of(out)
  local files = {}
  for _, name in ipairs(core.list(out)) do
    files[#files + 1] = name:match "^features%-.*"
  end
  return files
end

-- What a run ends with: tensors, and metrics without times.
local function ends(out)
  local metrics = {}
  for i, row in ipairs(helpers.csv(out .. "/metrics.csv")) do
    metrics[i] = table.concat({ row.fit, row.epoch, row.train_loss, row.val_loss, row.val_accuracy, row.lr }, " ")
  end
  return { metrics = metrics, last = helpers.bytes(out .. "/last.safetensors") }
end

local ways = {
  { "a pool in memory", "--cache", "pool:3", "--augment", "light" },
  { "a file", "--memory", "0" },
  { "a pool in files", "--cache", "pool:3", "--augment", "light", "--memory", "0" },
  { "validation photos in a file", "--augment", "light", "--memory", "0" },
}

describe("a run with kept features that is killed", function()
  for _, way in ipairs(ways) do
    for _, threads in ipairs(way[1] == "a pool in files" and { 1, 2 } or { 2 }) do
      it(("resumes to the same bits: %s, %d threads"):format(way[1], threads), function()
        local words = { table.unpack(way, 2) }
        table.move({ "--threads", threads }, 1, 2, #words + 1, words)
        local whole, torn = helpers.fresh "whole", helpers.fresh "torn"
        local document = helpers.json(run(whole, table.unpack(words)))
        local again = { table.unpack(words) }
        again[#again + 1] = "--resume"
        local killed = helpers.interrupted(run(torn, table.unpack(again)), { after = "epoch  4/40" })
        assert.equal(137, killed.status, helpers.told(killed))
        local in_file = document.cache.where == "file"
        assert.equal(in_file, #files_of(torn) > 0)
        killed = helpers.interrupted(run(torn, table.unpack(again)), { after = "epoch 12/40" })
        assert.equal(137, killed.status, helpers.told(killed))
        assert.equal(in_file, killed.err:find("found in ", 1, true) ~= nil)
        local done = helpers.done(run(torn, table.unpack(again)))
        assert.equal(in_file, done.err:find("found in ", 1, true) ~= nil, done.err)
        assert.same(ends(whole), ends(torn))
        assert.equal(0, #files_of(whole))
        assert.equal(0, #files_of(torn))
      end)
    end
  end

  it("while it fills a file leaves nothing behind that is trusted", function()
    local whole, torn = helpers.fresh "whole", helpers.fresh "torn"
    local words = { "--cache", "pool:8", "--augment", "light", "--memory", "0", "--epochs", "12", "--freeze", "conv1" }
    helpers.done(run(whole, table.unpack(words)))
    words[#words + 1] = "--resume"
    for i = 1, 4 do
      helpers.interrupted(run(torn, table.unpack(words)), { delay = 0.03 * i })
    end
    helpers.done(run(torn, table.unpack(words)))
    assert.same(ends(whole), ends(torn))
    for _, name in ipairs(core.list(torn)) do
      assert.is_nil(name:match "%.part$")
    end
  end)
end)

describe("a file of kept features", function()
  local words = { "--memory", "0", "--resume" }

  local function torn_run()
    local out = helpers.fresh "torn"
    local killed = helpers.interrupted(run(out, table.unpack(words)), { after = "epoch  4/40" })
    assert.equal(137, killed.status, helpers.told(killed))
    return out, files_of(out)
  end

  it("that is damaged, shortened, foreign or empty is made anew", function()
    local whole = helpers.fresh "whole"
    helpers.done(run(whole, "--memory", "0"))
    local damages = {
      function(text) return text:sub(1, #text // 2) end,
      function(text) return text:sub(1, 200) .. string.char(text:byte(201) ~ 1) .. text:sub(202) end,
      function(text) return "PK\3\4" .. text:sub(5) end,
      function() return "" end,
      function(text) return text .. text end,
      function(text, other) return other ~= text and other or "" end,
    }
    local torn, files = torn_run()
    assert.equal(2, #files)
    for _, damage in ipairs(damages) do
      local out = helpers.fresh "torn"
      helpers.shell(("cp -r '%s' '%s'"):format(torn, out))
      local first, second = helpers.read(out .. "/" .. files[1]), helpers.read(out .. "/" .. files[2])
      helpers.write(out .. "/" .. files[1], damage(first, second))
      local done = helpers.done(run(out, table.unpack(words)))
      assert.contains("were there", done.err) -- the other file was
      assert.same(ends(whole), ends(out))
    end
  end)

  it("stays when the run is interrupted, and the run says so", function()
    local out = helpers.fresh "stopped"
    local stopped = helpers.interrupted(run(out, "--memory", "0", "--epochs", "4000"), { after = "epoch    5/4000",
      signals = { "INT" } })
    assert.equal(130, stopped.status, helpers.told(stopped))
    assert.contains("stays in " .. out .. " for --resume", stopped.err)
    assert.equal(2, #files_of(out))
  end)

  it("is found by the next fit of the same run, which does not need the path any more", function()
    local out = helpers.fresh "twice"
    local document, result = helpers.json(run(out, "--memory", "0", "--fits", "2", "--epochs", "4"))
    assert.contains("found in", result.err)
    for _, fit in ipairs(document.fits) do
      assert.equal("once", fit.cache.mode)
      assert.equal("file", fit.cache.where)
      assert.equal(4 * 36, fit.cache.hits)
    end
    assert.equal(0, #files_of(out))
  end)

  it("that does not fit on the disk is done without, and the run says why", function()
    -- a limit on the size of files stands for a full disk; the signal that it sends is ignored
    for _, words_of in ipairs {
      { { "--freeze", "conv1", "--memory", "0" }, "none" },
      { { "--freeze", "conv1", "--memory", "0", "--cache", "pool:2", "--augment", "light" }, "pool:2" },
    } do
      local full, none = helpers.fresh "full", helpers.fresh "none"
      local given, mode = words_of[1], words_of[2]
      table.move({ "--epochs", "3" }, 1, 2, #given + 1, given)
      local document, result = helpers.json(run(full, table.unpack(given)), { before = "trap '' XFSZ; ulimit -f 300;" })
      assert.matches("features%-%x+%.rows: cannot be written: .*; so nothing is kept", result.err)
      assert.equal(mode, document.cache.mode)
      assert.equal(0, document.cache.bytes)
      assert.equal(0, document.cache.hits)
      assert.equal(0, #files_of(full))
      local plain = helpers.json(run(none, table.unpack(given)))
      assert.equal("file", plain.cache.where)
      assert.near(plain.last.train_loss, document.last.train_loss, 1e-3)
    end
  end)
end)

describe("the plan of a run with kept features", function()
  local function plan(...)
    return helpers.done({ "plan", recipe, "--data", photos, "--weights", weights, ... }).out
  end
  local function line(text, label)
    return text:match("\n" .. label .. "%s+([^\n]*)")
  end

  it("says what is kept, where, and what that saves", function()
    local cached = 0
    for _, row in ipairs(helpers.json { "plan", recipe, "--data", photos, "--weights", weights }.layers) do
      cached = cached + (row.cached and 1 or 0)
    end
    assert.is_true(cached > 5) -- layers before the cut
    local document = helpers.json { "plan", recipe, "--data", photos, "--weights", weights, "--cache", "pool:3", "--augment",
      "light" }
    assert.equal("pool:3", document.cache.mode)
    assert.equal("memory", document.cache.where)
    assert.equal(document.cache.photos * 16 * 4, document.cache.bytes)
    assert.is_true(document.decoded_photos > 0)
    assert.is_true(document.planned_memory > document.cache.bytes + document.decoded_photos)
    assert.matches("36 photos x 64 B = 2.2 KiB in memory; the frozen part runs once, not 40 times$", line(plan(), "cache"))
    assert.matches("in 3 views each and %d+ as they are x 64 B = .* in memory; the frozen part runs 3 times, not 40 times; "
      .. "the views take turns$", line(plan("--cache", "pool:3", "--augment", "light"), "cache"))
    assert.matches("in 1 view each .*; the frozen part runs once, not 40 times", line(plan("--cache", "pool:1", "--augment",
      "light"), "cache"))
    assert.matches("in a file of the run folder %(more than the 10 B", line(plan("--memory", "10"), "cache"))
    assert.matches("the photos to train on are augmented afresh", line(plan("--augment", "light"), "cache"))
    assert.matches("in 2 epochs no view comes twice, so none is kept; output of", line(plan("--cache", "pool:2", "--augment",
      "light", "--epochs", "2"), "cache"))
    assert.equal("none", line(plan("--cache", "none"), "cache"))
    assert.equal("none", line(plan("--epochs", "1"), "cache"))
    assert.matches("of it for decoded photos$", line(plan("--cache", "none"), "memory"))
    assert.is_nil(line(plan(), "memory"):find "decoded photos") -- each is read once
    assert.is_true(document.cache.photos > 36)
  end)

  it("counts memory that the cache takes, and none that it does not", function()
    local function planned(...)
      return helpers.json({ "plan", recipe, "--data", photos, "--weights", weights, "--freeze", "conv1", ... })
    end
    local memory, file = planned(), planned("--memory", "0")
    assert.equal(memory.cache.bytes, file.cache.bytes)
    assert.equal(memory.planned_memory - memory.cache.bytes, file.planned_memory)
  end)

  it("refuses a mode that is none", function()
    helpers.refused({ "plan", recipe, "--data", photos, "--weights", weights, "--cache", "pool:4" }, 1, "nothing augments them")
    helpers.refused({ "plan", recipe, "--data", photos, "--weights", weights, "--cache", "once" }, 1, '"pool:K"')
  end)
end)
