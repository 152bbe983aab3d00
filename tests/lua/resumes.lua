-- What resume_spec.lua and tests/soak/resume.lua share: a recipe with all that can be interrupted, ways to interrupt it, and
-- the comparison of its end with that of a run that was left alone.
local helpers = require "helpers"
local core = require "graft.core"

local resumes = {}

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 8)
local weights = helpers.weights()

-- Four trainings: the head on features in a file; more layers, with augmentation, another optimiser, an auxiliary
-- classifier, early stopping and random numbers in its callback; layers made anew; a loop of one's own. Epochs are as long
-- as it takes that checkpoints are written after nearly every one.
local recipe = helpers.recipe(([[
  local graft = require "graft"
  local opt = graft.options { epochs = 3, pause = 0.004 }
  local d = graft.data.folder(%q, { val = 0.25 })
  local net = graft.load(%q):replace_head(d):freeze "body"
  local drawn = 0
  local function wait(row)
    local till = os.clock() + opt.pause
    repeat until os.clock() >= till
    drawn = drawn + graft.rand(3):sum()
  end
  local run = graft.fit(net, d, { name = "head", epochs = opt.epochs, batch_size = 5, cache = { memory = 0 },
    optimizer = graft.sgd { lr = 0.05, momentum = 0.9 }, on_epoch = wait })
  net:unfreeze { "layer4", bn = "train" }:add_aux("layer3", { weight = 0.3 }):lr_scale { { "*", 1 / 3 }, { "head", 1 } }
  graft.fit(net, d, { name = "more, \"layers\"", epochs = opt.epochs + 1, batch_size = 7, augment = "light", patience = 3,
    monitor = "val_loss", optimizer = graft.adamw { lr = 0.01 }, schedule = graft.cosine { warmup = 0.2 }, on_epoch = wait })
  net:remove_aux():reinit("layer4"):freeze("body"):unfreeze("layer3", "layer4")
  graft.fit(net, d, { epochs = 2, batch_size = 5, keep = "last", cache = { memory = 0 },
    optimizer = graft.rmsprop { lr = 0.003 }, on_epoch = wait })
  local tr = graft.trainer(net, { optimizer = graft.adam { lr = 0.003 } })
  for e in tr:epochs(2) do
    for x, y, b in d.train:batches { net = net, batch_size = 6, shuffle = true, epoch = e, augment = "light" } do
      tr:step(x + graft.randn(table.unpack(x.shape)) * 0.01, y, b)
    end
    tr:log { epoch = e, val_accuracy = tr:evaluate(d.val).accuracy }
  end
  (graft.rand(4) * 1):save(graft.out "drawn.npy")
  net:save(graft.out "final.safetensors")
]]):format(photos, weights), "resumed.lua")
resumes.recipe = recipe

function resumes.words(out, threads, ...)
  return { "run", recipe, "--trust", "--out", out, "--threads", tostring(threads), ... }
end

-- The preloaded library that kills; nil where it cannot be made, and where a sanitizer wants to be the first.
local library = helpers.path "kill_at.so"
function resumes.library()
  if (os.getenv "SANITIZED" or "") ~= "" then
    return nil
  elseif not core.stat(library) then
    helpers.shell(("%s -shared -fPIC -o '%s' '%s/fixtures/kill_at.c' -ldl 2>/dev/null"):format(os.getenv "CC" or "cc", library,
      helpers.tests))
  end
  return core.stat(library) and library or nil
end

local function with_library(out, at, count)
  return { before = ("export KILL_BELOW='%s' KILL_AT=%d KILL_COUNT='%s' LD_PRELOAD='%s';"):format(out, at, count or "", library) }
end

-- Runs it as a whole. Returns its folder, and how often it changes the folder.
function resumes.whole(threads)
  local out, count = helpers.fresh "whole", helpers.fresh "count"
  helpers.done(resumes.words(out, threads), resumes.library() and with_library(out, 0, count) or nil)
  return out, tonumber(helpers.read(count) or nil)
end

-- Kills a run in `out` at its n-th change of the folder. Returns whether it died.
function resumes.killed_at(out, threads, n, ...)
  local result = helpers.graft(resumes.words(out, threads, ...), with_library(out, n))
  if result.status ~= 0 and result.status ~= 137 then
    error("killed at change " .. n .. ": " .. helpers.told(result), 0)
  end
  return result.status == 137
end

local function files_of(folder)
  local names = {}
  for name in helpers.shell(("cd '%s' && find . -type f | LC_ALL=C sort"):format(folder)):gmatch "[^\n]+" do
    names[#names + 1] = name:sub(3)
  end
  return names
end

-- metrics.csv without the seconds, which are the tenth column.
local function metrics_of(folder)
  local rows = {}
  for line in helpers.read(folder .. "/metrics.csv"):gmatch "[^\n]+" do
    local cells = require "graft.replay".cells(line)
    table.remove(cells, 10)
    rows[#rows + 1] = table.concat(cells, "|")
  end
  return rows
end

-- Raises with what differs between the ends of two runs: files, bytes of tensors, metrics, lock.
function resumes.compare(whole, torn, note)
  local function differ(what, ...)
    error(("%s: %s"):format(note, what:format(...)), 0)
  end
  local names, other = files_of(whole), files_of(torn)
  if table.concat(names, " ") ~= table.concat(other, " ") then
    differ("files are %s, not %s", table.concat(other, " "), table.concat(names, " "))
  end
  local rows, torn_rows = metrics_of(whole), metrics_of(torn)
  for i = 1, math.max(#rows, #torn_rows) do
    if rows[i] ~= torn_rows[i] then
      differ("row %d of metrics.csv is\n%s\nnot\n%s", i, torn_rows[i], rows[i])
    end
  end
  for _, name in ipairs(names) do
    if name:find "%.safetensors$" then
      local a, b = helpers.bytes(whole .. "/" .. name), helpers.bytes(torn .. "/" .. name)
      for tensor, bytes in pairs(a) do
        if b[tensor] ~= bytes then
          differ("%s of %s", tensor, name)
        end
        b[tensor] = nil
      end
      if next(b) then
        differ("%s has %s as well", name, next(b))
      end
    elseif name ~= "metrics.csv" and not name:find "^report" -- these tell times
      and helpers.read(whole .. "/" .. name) ~= helpers.read(torn .. "/" .. name) then
      differ("%s is\n%s\nnot\n%s", name, helpers.read(torn .. "/" .. name), helpers.read(whole .. "/" .. name))
    end
  end
end

-- Lets it finish, and compares.
function resumes.finish(whole, torn, threads, note)
  local result = helpers.graft(resumes.words(torn, threads, "--resume"))
  if result.status ~= 0 then
    error(note .. ": " .. helpers.told(result), 0)
  end
  resumes.compare(whole, torn, note)
  helpers.shell(("rm -rf '%s'"):format(torn))
end

return resumes
