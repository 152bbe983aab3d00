-- The lock of a run, and `graft verify`, which replays the run and compares: the same bits on this machine, and by name what
-- is not as it was.
local helpers = require "helpers"
local core = require "graft.core"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 10)
local weights = helpers.weights()

-- A run of fine_tune with rates that decimal numbers do not hold exactly.
local run = helpers.path "run"
helpers.done { "run", "fine_tune", "--data", photos, "--weights", weights, "--out", run, "--head-epochs", "2", "--epochs", "3",
  "--lr", "0.0333333333333333333", "--augment", "light", "--batch-size", "7", "--seed", "11", "--threads", "1", "--quiet" }

local function copy(from)
  local to = helpers.fresh "copy"
  helpers.shell(("cp -r '%s' '%s'"):format(from, to))
  return to
end

local function lock_of(folder)
  return core.parse_json(helpers.read(folder .. "/recipe.lock"))
end

-- A run folder whose lock was changed by `change`.
local function changed(change)
  local folder = copy(run)
  local lock = lock_of(folder)
  change(lock)
  helpers.write(folder .. "/recipe.lock", core.json(lock, 2))
  return folder
end

-- graft verify WORDS... --json, which has to end with this status.
local function verify(status, ...)
  local result = helpers.graft { "verify", ... }
  local words = { "verify", "--json", "--quiet", ... }
  local json = helpers.graft(words)
  assert.equal(status, result.status, helpers.told(result))
  assert.equal(status, json.status, helpers.told(json))
  return core.parse_json(json.out), result
end

-- Where the replays of a test go: the folder, and shell commands for helpers.graft.
local function place_for_replays()
  local folder = helpers.fresh "replays"
  helpers.shell(("mkdir '%s'"):format(folder))
  return folder, { before = ("export TMPDIR='%s';"):format(folder) }
end

local function differing(document)
  local names = {}
  for i, row in ipairs(document.differs) do
    names[i] = row.what
    helpers.has_keys(row, { "what", "locked", "now" }, "a difference")
  end
  return names
end

describe("recipe.lock", function()
  it("holds what a run depends on", function()
    local lock = lock_of(run)
    helpers.has_keys(lock, { "format", "finished", "recipe", "name", "options", "paths", "seed", "weights", "data", "fits",
      "threads", "graft", "build", "cpu", "blas", "jpeg", "digest" }, "the lock")
    assert.equal(core.digest(helpers.read(run .. "/recipe.lua")), lock.recipe)
    assert.same({ 7, "light", "fixed", 3, 2 }, { lock.options.batch_size, lock.options.augment, lock.options.bn,
      lock.options.epochs, lock.options.head_epochs })
    assert.equal(0.0333333333333333333, tonumber(lock.options.lr), "to the last bit")
    assert.same({ "data", "weights" }, lock.paths)
    assert.equal(11, lock.seed)
    assert.equal(1, lock.threads)
    assert.is_true(lock.finished)
    assert.matches("^%x+$", lock.build)
    local data = lock.data[1]
    helpers.has_keys(data, { "name", "sha256", "classes", "train", "val", "test", "split", "photos" }, "the data of a lock")
    assert.equal(0.2, data.split.held_out)
    assert.equal(2, #lock.fits)
    for i, fit in ipairs(lock.fits) do
      assert.same({ i, ({ "head", "all" })[i], i + 1, false }, { fit.fit, fit.name, fit.epochs, fit.exact })
      assert.matches("^" .. ("%x"):rep(64) .. "$", fit.digest)
    end
    assert.equal(lock.digest, lock.fits[2].digest)
  end)
  it("has the digests of the photos beside it, as sha256sum reads them", function()
    assert.equal(30, select(2, helpers.read(run .. "/data.sha256"):gsub("\n", "")))
    assert.equal("", helpers.shell(("cd '%s' && sha256sum --quiet -c '%s/data.sha256'"):format(photos, run)))
  end)
  it("of own loops ends with their weights, and a second look at the same photos is not listed twice", function()
    local out = helpers.fresh "loop"
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q):take { per_class = 4, seed = 2 }
      local net = graft.load(%q):replace_head(d):freeze "body"
      local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 } })
      for e in tr:epochs(2) do
        for x, y, b in d.train:batches { net = net, batch_size = 6, shuffle = true, epoch = e } do tr:step(x, y, b) end
        tr:log { epoch = e, val_accuracy = tr:evaluate(d.val).accuracy }
      end
      print("digest", net:digest())
      net:reinit "head"
      local other = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 } })
      for e in other:epochs(1) do
        for x, y, b in d.train:batches { net = net, batch_size = 6, epoch = e } do other:step(x, y, b) end
      end
      print("end", net:digest())
    ]]):format(photos, weights))
    local result = helpers.done { "run", recipe, "--out", out, "--trust" }
    local lock = lock_of(out)
    assert.same({ 2, true, true }, { #lock.fits, lock.fits[1].loop, lock.fits[2].loop })
    assert.equal(result.out:match "digest\t(%x+)", lock.fits[1].digest)
    assert.equal(result.out:match "end\t(%x+)", lock.fits[2].digest)
    assert.equal(lock.fits[2].digest, lock.digest)
    assert.is_true(lock.finished)
    assert.same({ 24, 12 }, { lock.data[1].train, lock.data[2].train })
    assert.not_equal(lock.data[1].split.train, lock.data[2].split.train)
    assert.equal("data.sha256", lock.data[2].photos)
    assert.is_nil(core.stat(out .. "/data-2.sha256"))
    assert.is_true(verify(0, out, "--trust").same)
  end)
  it("of tables and IDX files lists the files themselves", function()
    local rows = { "image,label" }
    for _, class in ipairs { "bowls", "mugs" } do
      for i = 1, 5 do
        rows[#rows + 1] = ("%s/%d.%s,%s"):format(class, i, i % 2 == 0 and "png" or "jpg", class)
      end
    end
    local folder = copy(photos)
    helpers.write(folder .. "/list.csv", table.concat(rows, "\n") .. "\n")
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local opt = graft.options { csv = { type = "file" } }
      local d = graft.data.csv(opt.csv, { image = "image", label = "label", val = 0.4 })
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 1, optimizer = graft.sgd { lr = 0.1 } })
    ]]):format(weights))
    local out = helpers.fresh "table"
    helpers.done { "run", recipe, "--csv", folder .. "/list.csv", "--out", out, "--trust" }
    local sums = helpers.read(out .. "/data.sha256")
    assert.contains(core.digest_file(folder .. "/list.csv") .. "  list.csv\n", sums)
    assert.equal(11, select(2, sums:gsub("\n", "")))
    assert.is_true(verify(0, out, "--trust").same)
    rows[2] = "bowls/1.jpg,mugs"
    helpers.write(folder .. "/list.csv", table.concat(rows, "\n") .. "\n")
    local document = verify(3, out, "--trust")
    assert.same({ "photo list.csv" }, differing(document))
  end)
end)

describe("graft verify", function()
  it("finds a run the same, bit for bit, and leaves nothing behind", function()
    local before = helpers.shell(("cd '%s'; find . -type f -print0 | sort -z | xargs -0 sha256sum"):format(run))
    local document, result = verify(0, run)
    assert.same({ true, true, true, true }, { document.same, document.replayed, document.exact, document.bits })
    assert.same({}, document.differs)
    assert.contains("replayed in", result.out)
    assert.contains("the same, bit for bit", result.out)
    assert.contains("5 rows of metrics.csv", result.out)
    local folder, options = place_for_replays()
    helpers.done({ "verify", run, "--quiet" }, options)
    assert.same({}, core.list(folder))
    assert.equal(before, helpers.shell(("cd '%s'; find . -type f -print0 | sort -z | xargs -0 sha256sum"):format(run)))
  end)
  it("takes photos and weights from where they lie now", function()
    local elsewhere, other = copy(photos), helpers.fresh "w"
    helpers.shell(("cp '%s' '%s'"):format(weights, other))
    assert.is_true(verify(0, run, "--data", elsewhere, "--weights", other).same)
    local gone = changed(function(lock)
      lock.options.data = "not/here"
    end)
    helpers.refused({ "verify", gone }, 1, { "not/here", "could not be replayed" })
    assert.is_true(verify(0, gone, "--data", photos).same)
  end)
  it("names photos that changed, are gone or are new, at once and without training", function()
    local other = copy(photos)
    helpers.shell(("cd '%s'; cp mugs/1.jpg mugs/3.jpg; rm bowls/2.png; cp mugs/4.png plates/new.png"):format(other))
    local document, result = verify(3, run, "--data", other)
    assert.is_false(document.same)
    assert.is_false(document.replayed)
    assert.same({ "photo bowls/2.png", "photo mugs/3.jpg", "photo plates/new.png" }, differing(document))
    assert.same({ core.digest_file(photos .. "/bowls/2.png"), "-" }, { document.differs[1].locked, document.differs[1].now })
    assert.equal(core.digest_file(photos .. "/mugs/1.jpg"), document.differs[2].now)
    assert.equal("-", document.differs[3].locked)
    assert.contains("mugs/3.jpg", result.out)
    assert.contains("--replay-anyway", result.out)
    assert.falsy(result.err:find "epoch 1/")
  end)
  it("names a photo whose name is hardly one", function()
    local odd = helpers.photos("odd", { "bowls", "mugs" }, 6)
    local name = "mugs/a \\ b\n\27[31m.jpg"
    helpers.shell(("cp '%s/mugs/1.jpg' '%s/%s'"):format(odd, odd, name))
    local out = helpers.fresh "odd"
    helpers.done { "run", "head_only", "--data", odd, "--weights", weights, "--out", out, "--epochs", "1" }
    assert.equal("", helpers.shell(("cd '%s' && sha256sum --quiet -c '%s/data.sha256' 2>&1"):format(odd, out)))
    helpers.shell(("cp '%s/mugs/3.jpg' '%s/%s'"):format(odd, odd, name))
    local document, result = verify(3, out)
    assert.equal(1, #document.differs)
    assert.contains("photo mugs/a ", document.differs[1].what)
    assert.equal(core.digest_file(odd .. "/mugs/3.jpg"), document.differs[1].now)
    assert.falsy(result.out:find "\27")
  end)
  it("names other weights, another recipe and another option", function()
    local other = helpers.path "other.safetensors"
    core.seed(8)
    require "graft".load(weights):reinit("*"):save(other)
    assert.same({ "weights other.safetensors" }, differing(verify(3, run, "--weights", other)))
    local folder = copy(run)
    helpers.write(folder .. "/recipe.lua", helpers.read(run .. "/recipe.lua") .. "\n-- one line more\n")
    assert.same({ "recipe" }, differing(verify(3, folder)))
  end)
  it("goes on with --replay-anyway, and says which rows came out otherwise", function()
    local other = copy(photos)
    helpers.shell(("cd '%s'; for i in 3 5 7 9; do cp mugs/1.jpg mugs/$i.jpg; done"):format(other))
    local document, result = verify(3, run, "--data", other, "--replay-anyway")
    assert.is_true(document.replayed)
    local names = table.concat(differing(document), "\n")
    assert.contains("photo mugs/3.jpg", names)
    assert.contains("fit 1 epoch 1 train_loss", names)
    assert.contains("weights after fit 1", names)
    assert.contains("differences", result.out)
  end)
  it("sees a forged number, digest or row", function()
    local folder = copy(run)
    local text = helpers.read(run .. "/metrics.csv")
    helpers.write(folder .. "/metrics.csv", (text:gsub("(2,all,2,)[%d.]+", "%10.5")))
    assert.same({ "fit 2 epoch 2 train_loss" }, differing(verify(3, folder)))
    helpers.write(folder .. "/metrics.csv", (text:gsub("2,all,3,[^\n]*\n", "")))
    assert.same({ "fit 2 epoch 3" }, differing(verify(3, folder)))
    folder = changed(function(lock)
      lock.fits[1].digest = ("0"):rep(64)
    end)
    assert.same({ "weights after fit 1" }, differing(verify(3, folder)))
  end)
  it("compares within a tolerance where machine, build or threads are others, and says which", function()
    local folder = changed(function(lock)
      lock.cpu, lock.threads, lock.build = "avx9", 64, ("1"):rep(40)
      lock.digest, lock.fits[2].digest = ("0"):rep(64), ("0"):rep(64)
    end)
    local document, result = verify(0, folder, "--threads", "2")
    assert.is_true(document.same)
    assert.is_false(document.exact)
    assert.is_false(document.bits)
    assert.same({ loss = 0.05, share = 0.05 }, document.tolerance)
    local machine = {}
    for i, row in ipairs(document.machine) do
      machine[i] = row.what
    end
    assert.same({ "threads", "build", "processor" }, machine)
    assert.contains("within the tolerance", result.out)
    assert.contains("losses within 5 %, accuracies within 0.05", result.out)
    assert.matches("processor +avx9 +%w+", result.out)
    helpers.write(folder .. "/metrics.csv", (helpers.read(run .. "/metrics.csv"):gsub("(2,all,2,)[%d.]+", "%19.5")))
    assert.same({ "fit 2 epoch 2 train_loss" }, differing(verify(3, folder)))
  end)
  it("keeps the replay with --out", function()
    local kept = helpers.fresh "kept"
    helpers.done { "verify", run, "--out", kept }
    assert.same(lock_of(run).fits, lock_of(kept).fits)
    assert.same(lock_of(run).options, lock_of(kept).options)
  end)
  it("gives the recipe every kind of option as it was", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local opt = graft.options { low = 0, large = 0, third = 0.5, whole = 2.0, on = true, off = false, text = "", dashes = "x",
        mode = { choices = { "one two", "three" } }, never = { type = "string" } }
      local d = graft.data.folder(%q)
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 1, optimizer = graft.sgd { lr = 0.1 } })
      local words = {}
      for i, name in ipairs { "low", "large", "third", "whole", "on", "off", "text", "dashes", "mode", "never" } do
        local value = opt[name]
        words[i] = type(value) == "number" and ("%%q"):format(value) or tostring(value)
      end
      io.stderr:write("options: ", table.concat(words, "|"), "\n")
    ]]):format(photos, weights))
    local out = helpers.fresh "options"
    local function told(result)
      return result.err:match "options: (.*)\n"
    end
    local text = told(helpers.done { "run", recipe, "--trust", "--out", out, "--low", "-5", "--large", "9007199254740993",
      "--third", "0.33333333333333333", "--whole", "3", "--no-on", "--off", "--text", "a = 'b' \"c\"\nd", "--dashes=--text",
      "--mode", "one two" })
    assert.contains("-5|9007199254740993|", text)
    assert.contains("|false|true|a = 'b' \"c\"\nd|--text|one two|nil", text)
    local result = helpers.done { "verify", out, "--trust" }
    assert.equal(text, told(result))
    assert.contains("bit for bit", result.out)
  end)
  it("ends at Ctrl-C with 130 and leaves nothing behind", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local opt = graft.options { wait = 0 }
      local d = graft.data.folder(%q)
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 3, optimizer = graft.sgd { lr = 0.1 },
        on_epoch = function()
          local till = os.clock() + opt.wait
          repeat until os.clock() >= till
        end })
    ]]):format(photos, weights))
    local out = helpers.fresh "waits"
    helpers.done { "run", recipe, "--out", out, "--trust" }
    local lock = lock_of(out)
    lock.options.wait = 20
    helpers.write(out .. "/recipe.lock", core.json(lock))
    local folder, options = place_for_replays()
    options.after, options.signals = "frozen part", { "INT" }
    local result = helpers.interrupted({ "verify", out, "--replay-anyway", "--trust" }, options)
    assert.equal(130, result.status, helpers.told(result))
    assert.same({}, core.list(folder))
  end)
  it("ends with 1 where it cannot replay, and says why", function()
    helpers.refused({ "verify", "nowhere" }, 1, "no such run folder")
    helpers.refused({ "verify", photos }, 1, "there is no recipe.lock in it")
    helpers.refused({ "verify", changed(function(lock)
      lock.finished = false
    end) }, 1, { "has not ended", "--resume" })
    helpers.refused({ "verify", changed(function(lock)
      lock.format = 99
    end) }, 1, "its format is 99")
    local folder = copy(run)
    helpers.write(folder .. "/recipe.lock", "{ not json")
    helpers.refused({ "verify", folder }, 1, "no JSON")
    for _, key in ipairs { "options", "paths", "data", "weights", "fits", "seed", "threads", "finished", "recipe" } do
      helpers.refused({ "verify", changed(function(lock)
        lock[key] = key == "recipe" and 3 or key == "finished" and "yes" or "text"
      end) }, 1, "")
    end
    for _, options in ipairs { { ["a b"] = "x" }, { seed = "3" }, { lr = {} } } do
      helpers.refused({ "verify", changed(function(lock)
        lock.options = options
      end) }, 1, "")
    end
    helpers.refused({ "verify", changed(function(lock)
      lock.data[1].photos = "../../data.sha256"
    end), "--data", "nowhere" }, 1, "nowhere")
  end)
  it("refuses options that it does not have", function()
    helpers.refused({ "verify" }, 2, "graft verify needs the folder of a run")
    helpers.refused({ "verify", run, "--epochs", "3" }, 2, "no option --epochs")
    helpers.refused({ "verify", run, "--wieghts", "x" }, 2, "nearest: --weights")
    helpers.refused({ "verify", run, "--seed", "3" }, 2, "--seed")
    helpers.refused({ "verify", run, "another" }, 2, "another")
  end)
end)

describe("--locked", function()
  local function words(...)
    return { "run", "fine_tune", "--data", photos, "--weights", weights, "--out", helpers.fresh "locked", "--head-epochs", "2",
      "--lr", "0.0333333333333333333", "--augment", "light", "--batch-size", "7", "--seed", "11", "--quiet", "--locked",
      run .. "/recipe.lock", ... }
  end
  it("trains what the lock was written for", function()
    assert.equal(lock_of(run).digest, helpers.json(words("--epochs", "3", "--threads", "1")).digest)
  end)
  it("refuses anything else with 3, before there is a run folder", function()
    local all = words("--epochs", "4")
    local result = helpers.refused(all, 3, { "not what the lock was written for", "--epochs", "what differs" })
    assert.matches("%-%-epochs +3 +4", result.err)
    assert.is_nil(core.stat(all[8]))
    all[#all + 1] = "--json"
    local document = core.parse_json(helpers.graft(all).out)
    assert.same({ { what = "--epochs", locked = "3", now = "4" } }, document.differs)
    helpers.refused(words("--epochs", "3", "--seed", "12"), 3, "--seed")
    helpers.refused(words("--epochs", "3", "--bn", "train"), 3, "--bn")
    local plan = words("--epochs", "4")
    plan[1] = "plan"
    helpers.refused(plan, 3, "--epochs")
  end)
end)
