-- The promises of the product, one test after another: what "frozen" means, that looking changes nothing, that the same
-- seed gives the same bits, that an interrupted run can go on as if nothing had been. Bad input is in bad_input_spec.lua.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()

-- ---- frozen means untouched ----

-- Trains with weight decay, momentum and dropout; --freeze and --unfreeze list layers, --bn says how batch norm goes.
local free = helpers.recipe([[
  local graft = require "graft"
  local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, freeze = "", unfreeze = "", bn = "train",
    epochs = 3, optimizer = "sgd", clip = 0.0, aux = "" }
  local d = graft.data.folder(opt.data)
  local net = graft.load(opt.weights):replace_head(d)
  if opt.aux ~= "" then net:add_aux(opt.aux, {}) end
  for name in opt.freeze:gmatch "%S+" do net:freeze(name) end
  for name in opt.unfreeze:gmatch "%S+" do net:unfreeze { name, bn = opt.bn } end
  net:save(graft.out "before.safetensors", { aux = true })
  local optimizer = opt.optimizer == "sgd" and graft.sgd { lr = 0.1, momentum = 0.9, weight_decay = 0.1 }
    or graft.adamw { lr = 0.01, weight_decay = 0.5 }
  local run = graft.fit(net, d, { epochs = opt.epochs, batch_size = 7, augment = "light", optimizer = optimizer, keep = "last",
    clip = opt.clip > 0 and opt.clip or nil })
  assert(run.frozen_digest_before == run.frozen_digest_after)
  net:save(graft.out "after.safetensors", { aux = true })
]], "free.lua")

-- Trains and returns the names of the tensors that changed and of those that are what they were, byte for byte.
local function trained(...)
  local out = helpers.fresh "frozen"
  helpers.done { "run", free, "--data", photos, "--weights", weights, "--out", out, "--quiet", ... }
  local before, after = helpers.bytes(out .. "/before.safetensors"), helpers.bytes(out .. "/after.safetensors")
  local last = helpers.bytes(out .. "/last.safetensors")
  local changed, same = {}, {}
  for name, bytes in pairs(before) do
    assert.truthy(after[name], name)
    assert.is_true(last[name] == nil or last[name] == after[name], "last.safetensors has " .. name)
    if after[name] == bytes then
      same[name] = true
    else
      changed[name] = true
    end
  end
  return changed, same, out
end

-- Every tensor of the network has changed, except for those whose name matches one of the patterns.
local function expect(changed, same, patterns)
  local function frozen(name)
    for _, pattern in ipairs(patterns) do
      if name:find(pattern) then
        return true
      end
    end
    return false
  end
  for name in pairs(changed) do
    assert.is_false(frozen(name), name .. " changed")
  end
  local count = 0
  for name in pairs(same) do
    assert.is_true(frozen(name), name .. " did not change")
    count = count + 1
  end
  assert.is_true(count > 0 or #patterns == 0)
end

describe("frozen means untouched, byte for byte, with weight decay on:", function()
  it("a prefix", function()
    local changed, same = trained("--freeze", "conv1 layer1 layer2")
    expect(changed, same, { "^conv1%.", "^layer1%.", "^layer2%." })
  end)
  it("single layers in the middle; what lies below them learns", function()
    local changed, same = trained("--freeze", "layer2.conv layer3.bn layer3.shortcut")
    expect(changed, same, { "^layer2%.conv%.", "^layer3%.bn%.", "^layer3%.shortcut%." })
    assert.truthy(changed["conv1.conv.weight"])
    changed, same = trained("--freeze", "layer2", "--optimizer", "adamw")
    expect(changed, same, { "^layer2%." })
    assert.truthy(changed["conv1.conv.weight"] and changed["layer1.bn.running_mean"])
  end)
  it("the whole body", function()
    for _, optimizer in ipairs { "sgd", "adamw" } do
      local changed, same = trained("--freeze", "body", "--optimizer", optimizer, "--clip", "1")
      expect(changed, same, { "^conv1%.", "^layer%d%." })
      assert.truthy(changed["fc.weight"] and changed["fc.bias"])
    end
  end)
  it("the head, while the body learns", function()
    local changed, same = trained("--freeze", "head")
    expect(changed, same, { "^fc%." })
  end)
  it("an auxiliary classifier", function()
    local changed, same = trained("--freeze", "aux body", "--aux", "layer2")
    expect(changed, same, { "^conv1%.", "^layer%d%.", "^aux%." })
    changed, same = trained("--freeze", "body", "--aux", "layer2")
    expect(changed, same, { "^conv1%.", "^layer%d%." })
    assert.truthy(changed["aux.layer2.fc.weight"])
  end)
  it("the statistics of batch norm where bn is \"fixed\"", function()
    local changed, same = trained("--freeze", "body", "--unfreeze", "layer4", "--bn", "fixed")
    expect(changed, same, { "^conv1%.", "^layer[123]%.", "running_", "num_batches" })
    assert.truthy(changed["layer4.bn.weight"] and changed["layer4.bn.bias"])
  end)
  it("nothing, when nothing is frozen", function()
    local changed = trained("--unfreeze", "body")
    for _, name in ipairs { "conv1.conv.weight", "conv1.bn.running_mean", "layer4.bn.running_var", "fc.bias" } do
      assert.truthy(changed[name], name)
    end
  end)
  it("after resume", function()
    local out = helpers.fresh "frozen"
    local words = { "run", free, "--data", photos, "--weights", weights, "--out", out, "--epochs", "12", "--freeze",
      "conv1 layer2.conv layer3" }
    helpers.interrupted(words, { after = "epoch  5/12" })
    words[#words + 1] = "--resume"
    helpers.done(words)
    local before, after = helpers.bytes(out .. "/before.safetensors"), helpers.bytes(out .. "/after.safetensors")
    local file = helpers.bytes(weights)
    for name, bytes in pairs(before) do
      local frozen = name:find "^conv1%." or name:find "^layer2%.conv%." or name:find "^layer3%."
      assert.equal(frozen and true or false, after[name] == bytes, name)
      assert.is_true(not frozen or file[name] == bytes, name)
    end
  end)
  it("and the run says so with a digest", function()
    local text = helpers.done { "run", "head_only", "--data", photos, "--weights", weights, "--out", helpers.fresh "run",
      "--epochs", "1" }.out
    assert.matches("frozen +%d+ tensors exactly as before %(sha256 %x+%.%.%x+ before and after%)", text)
  end)
end)

-- ---- 1: looking changes nothing ----

describe("promise 1: looking changes nothing:", function()
  local looking = helpers.recipe([[
    local graft = require "graft"
    local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, look = false }
    local d = graft.data.folder(opt.data)
    local net = graft.load(opt.weights):replace_head(d):freeze "body":unfreeze "layer4":add_aux("layer3", {})
    local function look()
      if not opt.look then return end
      local before = net:digest()
      graft.evaluate(net, d.val)
      net:predict { d.val[1].file, d.train[1].file }
      net:features(graft.zeros(2, 3, 16, 16), { "layer1", "layer4" })
      net:forward(graft.ones(1, 3, 16, 16), { heads = true })
      graft.embed(net, d.val, { at = "layer2", normalize = true })
      graft.plan(net, d, { epochs = 2, optimizer = graft.sgd { lr = 0.1 }, augment = "standard" })
      net:summary "*"
      tostring(net) tostring(d)
      net:clone():cut "layer2"
      for _ in d.train:batches { net = net, batch_size = 5, shuffle = true, augment = "standard" } do break end
      assert(net:digest() == before)
    end
    look()
    graft.fit(net, d, { name = "one", epochs = 2, batch_size = 7, augment = "light", on_epoch = look,
      optimizer = graft.sgd { lr = 0.05, momentum = 0.9 } })
    look()
    local tr = graft.trainer(net, { optimizer = graft.adamw { lr = 0.01 } })
    for x, y, b in d.train:batches { net = net, batch_size = 7, shuffle = true, augment = "light" } do
      tr:step(x, y, b)
      look()
      tr:evaluate(d.val)
    end
    look()
    net:reinit "layer4"
    io.stderr:write("digest ", net:digest(), "\n")
  ]], "looking.lua")
  local function digest(...)
    return helpers.done { "run", looking, "--data", photos, "--weights", weights, "--out", helpers.fresh "run", ... }.err
      :match "digest (%x+)"
  end
  it("plan, predict, eval, features, embed, between epochs and between steps", function()
    assert.equal(digest(), digest "--look")
  end)
  it("the commands leave the files as they were", function()
    local out = helpers.fresh "run"
    helpers.done { "run", "head_only", "--data", photos, "--weights", weights, "--out", out, "--epochs", "1", "--quiet" }
    local function state()
      return helpers.shell(("cd '%s'; find . -name stdout -o -name stderr -o -type f -print0 | sort -z | xargs -0 sha256sum")
        :format(helpers.root))
    end
    local model = out .. "/best.safetensors"
    local before = state()
    helpers.done { "plan", "fine_tune", "--data", photos, "--weights", weights }
    helpers.done { "predict", model, photos .. "/mugs/1.jpg" }
    helpers.done { "eval", model, photos }
    for _, path in ipairs { model, weights, photos, out, out .. "/recipe.lock" } do
      helpers.done { "inspect", path }
    end
    local after = state()
    local function lines(text)
      local list = {}
      for line in text:gmatch "[^\n]+" do
        if not line:find "%./std" then
          list[#list + 1] = line
        end
      end
      return list
    end
    assert.same(lines(before), lines(after))
  end)
end)

-- ---- 2: the same bits ----

-- What a run's end must have in common with another's: digest, tensors of last, metrics without times.
local function ends(out)
  local rows = helpers.csv(out .. "/metrics.csv")
  local metrics = {}
  for i, row in ipairs(rows) do
    metrics[i] = table.concat({ row.fit, row.name, row.epoch, row.train_loss, row.val_loss, row.val_accuracy, row.lr }, " ")
  end
  return helpers.bytes(out .. "/last.safetensors"), helpers.bytes(out .. "/best.safetensors"), metrics
end

local function expect_same(one, other, note)
  local last, best, metrics = ends(one)
  local last2, best2, metrics2 = ends(other)
  assert.same(metrics, metrics2, note)
  for name, bytes in pairs(last) do
    assert.is_true(bytes == last2[name], name .. " of last " .. (note or ""))
  end
  for name, bytes in pairs(best) do
    assert.is_true(bytes == best2[name], name .. " of best " .. (note or ""))
  end
end

describe("promise 2:", function()
  local function run(recipe, out, ...)
    return { "run", recipe, "--data", photos, "--weights", weights, "--out", out, "--batch-size", "5", ... }
  end

  it("the same seed and thread count give the same bits, another seed others", function()
    for threads = 1, 2 do
      local one, two, other = helpers.fresh "run", helpers.fresh "run", helpers.fresh "run"
      local words = { "--threads", threads, "--epochs", "3", "--augment", "standard", "--seed" }
      local function document(out, seed)
        local all = { table.unpack(words) }
        all[#all + 1] = seed
        return helpers.json(run("fine_tune", out, table.unpack(all)))
      end
      local a, b, c = document(one, 3), document(two, 3), document(other, 4)
      assert.equal(threads, a.threads)
      assert.equal(a.digest, b.digest)
      assert.not_equal(a.digest, c.digest)
      expect_same(one, two)
    end
  end)

  -- Kills a run at random moments, again and again, and lets it finish; then compares it with one that was left alone.
  local function survives(recipe, signal, ...)
    local whole, torn = helpers.fresh "whole", helpers.fresh "torn"
    local started = core.clock()
    helpers.done(run(recipe, whole, ...))
    local length = core.clock() - started
    local moments, died = {}, 0
    for _ = 1, 4 do -- on a busy machine a run may end before its first signal: then sooner, and from the beginning
      for i = 1, 5 do
        moments[i] = i == 1 and length * 0.4 or math.random() * length * 0.9
        local result = helpers.interrupted(run(recipe, torn, "--resume", ...), { delay = moments[i], signals = { signal } })
        assert.truthy(({ [0] = true, [137] = true, [130] = true, [143] = true })[result.status], helpers.told(result))
        died = died + (result.status ~= 0 and 1 or 0)
      end
      if died > 0 then
        break
      end
      length, torn = length / 3, helpers.fresh "torn"
    end
    assert.is_true(died > 0)
    helpers.done(run(recipe, torn, "--resume", ...))
    expect_same(whole, torn, ("%d times %s after %s s"):format(died, signal, table.concat(moments, ", ")))
  end

  it("a run that was killed at random moments resumes to the same bits (head_only)", function()
    survives("head_only", "KILL", "--epochs", "40", "--threads", "1")
    survives("head_only", "KILL", "--epochs", "40", "--threads", "2")
  end)
  it("a run that was killed at random moments resumes to the same bits (fine_tune)", function()
    survives("fine_tune", "KILL", "--head-epochs", "15", "--epochs", "25", "--threads", "2")
    survives("fine_tune", "KILL", "--head-epochs", "15", "--epochs", "25", "--threads", "1")
  end)
  it("and so does one that was interrupted", function()
    survives("fine_tune", "INT", "--head-epochs", "15", "--epochs", "25")
    survives("head_only", "TERM", "--epochs", "40")
  end)
  it("a finished run resumes to itself", function()
    local out = helpers.fresh "run"
    local one = helpers.json(run("fine_tune", out, "--epochs", "3"))
    local two = helpers.json(run("fine_tune", out, "--epochs", "3", "--resume"))
    assert.equal(one.digest, two.digest)
    assert.same(one.best, two.best)
    assert.equal(#one.fits, #two.fits)
    assert.equal(6, #helpers.csv(out .. "/metrics.csv"))
  end)
  it("a run is not resumed with other options, data or seed: exit status 3, and nothing is lost", function()
    local out = helpers.fresh "run"
    helpers.done(run("head_only", out, "--epochs", "3"))
    local before = helpers.read(out .. "/last.safetensors")
    helpers.refused(run("head_only", out, "--epochs", "4", "--resume"), 3, "cannot be resumed")
    helpers.refused(run("head_only", out, "--epochs", "3", "--lr", "0.5", "--resume"), 3, "cannot be resumed")
    helpers.refused(run("head_only", out, "--epochs", "3", "--seed", "8", "--resume"), 3, "cannot be resumed")
    local more = helpers.photos("more", { "bowls", "mugs", "plates" }, 10, 50)
    helpers.refused({ "run", "head_only", "--data", more, "--weights", weights, "--out", out, "--batch-size", "5", "--epochs",
      "3", "--resume" }, 3, "cannot be resumed")
    assert.is_true(before == helpers.read(out .. "/last.safetensors"))
  end)
end)

-- ---- Ctrl-C ----

describe("Ctrl-C", function()
  local function words(out, ...)
    return { "run", "head_only", "--data", photos, "--weights", weights, "--out", out, "--batch-size", "5", "--epochs", "2000",
      ... }
  end
  it("stops after the step, says so, leaves a whole checkpoint and ends with 130", function()
    local out = helpers.fresh "run"
    local result = helpers.interrupted(words(out), { after = "epoch    9/2000", signals = { "INT" } })
    assert.equal(130, result.status, helpers.told(result))
    assert.contains("stopped after the step; the last checkpoint is whole", result.err)
    assert.is_false(core.parse_json(helpers.read(out .. "/recipe.lock")).finished)
    for _, name in ipairs { "last", "best" } do
      assert.truthy(core.weights(out .. "/" .. name .. ".safetensors"))
    end
    assert.equal("", result.out)
    helpers.done { "predict", out .. "/best.safetensors", photos .. "/mugs/1.jpg" }
    assert.equal(0, #helpers.shell(("find '%s' -name '*.tmp*' -o -name '*~'"):format(out)))
  end)
  it("twice ends at once, and with the checkpoint whole", function()
    local out = helpers.fresh "run"
    local result = helpers.interrupted(words(out), { after = "epoch    5/2000", signals = { "INT", "INT" } })
    assert.equal(130, result.status, helpers.told(result))
    assert.truthy(core.weights(out .. "/last.safetensors"))
  end)
  it("a polite kill ends with 143", function()
    local out = helpers.fresh "run"
    local result = helpers.interrupted(words(out), { after = "epoch    5/2000", signals = { "TERM" } })
    assert.equal(143, result.status, helpers.told(result))
    assert.truthy(core.weights(out .. "/last.safetensors"))
  end)
  it("ends a loop of one's own, and Lua that never asks", function()
    local recipe = helpers.recipe [[
      local graft = require "graft"
      io.stderr:write "going\n"
      while true do end
    ]]
    assert.equal(130, helpers.interrupted({ "run", recipe }, { after = "going", signals = { "INT" } }).status)
    recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      io.stderr:write "going\n"
      while true do for x in d.train:batches {} do graft.tensor(x):sum() end end
    ]]):format(photos))
    assert.equal(130, helpers.interrupted({ "run", recipe }, { after = "going", signals = { "INT" } }).status)
  end)
end)

-- ---- 3, 4, 5 ----

describe("promise 3: bad input never loses work:", function()
  it("a full disk leaves the last good checkpoint, and the run can go on", function()
    local whole, out = helpers.fresh "whole", helpers.fresh "run"
    local function words(folder, ...)
      return { "run", "head_only", "--data", photos, "--weights", weights, "--out", folder, "--epochs", "60", "--batch-size", "5",
        ... }
    end
    helpers.done(words(whole))
    helpers.interrupted(words(out), { after = "epoch  5/60" })
    helpers.write(out .. "/last.safetensors.12345.part", "half of it")
    local before = helpers.read(out .. "/last.safetensors")
    helpers.refused(words(out, "--resume"), 1, { out, "File too large" }, { before = "trap '' XFSZ; ulimit -f 8;" })
    assert.is_true(before == helpers.read(out .. "/last.safetensors"))
    helpers.done(words(out, "--resume"))
    expect_same(whole, out)
    assert.is_nil(core.stat(out .. "/last.safetensors.12345.part"), "what was half written is swept up")
  end)
  it("a loss that is not a number stops at the last good checkpoint and names the photos", function()
    local out = helpers.fresh "run"
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q)
      local net = graft.load(%q):replace_head(d)
      local hard, steps = graft.nn.cross_entropy {}, 0
      graft.fit(net, d, { epochs = 5, batch_size = 8, optimizer = graft.sgd { lr = 0.1 }, loss = function(logits, y, b)
        local value, gradient = hard(logits, y)
        steps = steps + (b.epoch == 3 and 1 or 0)
        return steps == 2 and 0 / 0 or value, gradient
      end })
    ]]):format(photos, weights))
    helpers.refused({ "run", recipe, "--out", out }, 1, { "not a number", "learning rate 0.1", "photos of that step: ", ".jpg" })
    local saved = core.weights(out .. "/last.safetensors"):record()
    assert.equal(2, core.parse_json(saved["graft.fit"]).epoch)
    assert.equal(2, #helpers.csv(out .. "/metrics.csv"))
  end)
end)

describe("promise 4: a recipe can read and write only what the user named:", function()
  it("neither photos nor weights that only the recipe names, unless --trust says so", function()
    local recipe = helpers.recipe(("print(#require 'graft'.data.folder(%q).classes)"):format(photos))
    helpers.refused({ "run", recipe }, 1, { photos, "is not for this recipe", "--read PATH", "--trust" }, { strict = true })
    assert.equal("3\n", helpers.done({ "run", recipe, "--trust" }, { strict = true }).out)
    assert.equal("3\n", helpers.done({ "run", recipe, "--read", photos }, { strict = true }).out)
  end) -- and tests/lua/sandbox_spec.lua
end)

describe("promise 5: nothing is downloaded:", function()
  it("the program knows no function of the network", function()
    local symbols = helpers.shell(("nm -D --undefined-only '%s'"):format(helpers.program))
    assert.contains("fopen", symbols)
    for _, name in ipairs { "socket", "connect", "getaddrinfo", "gethostbyname", "sendto" } do
      assert.falsy(symbols:find("%f[%w_]" .. name .. "%f[^%w_]"), name)
    end
  end)
end)
