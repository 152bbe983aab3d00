-- Looking changes nothing: neither weights, statistics and random streams of the program that looks, nor files. Each way of
-- looking is a row of the table below; what joins it is tested like the others.
local helpers = require "helpers"

local photos = helpers.photos("photos", { "bowls", "mugs", "plates" }, 8)
local weights = helpers.weights()

-- {name, Lua with `net`, `d` at hand}. The last argument of a row says what a command line of the same would be.
local looks = {
  { "plan", 'graft.plan(net, d, { epochs = 2, optimizer = graft.adamw { lr = 0.1 }, augment = "standard", loss = noisy })',
    { "plan", "fine_tune", "--data", photos, "--weights", weights, "--augment", "standard" } },
  { "lr_find", 'print(graft.lr_find(net, d, { steps = 12, batch_size = 5, augment = "light", loss = noisy, bn = "train" }))'
    .. ' local found = graft.lr_find(net, d, { steps = 12, optimizer = graft.adamw { lr = 1 }, start = 1e-4 })'
    .. ' graft.report(found, os.tmpname())' },
  { "predict", "net:predict { d.val[1].file, d.train[1].file }", { "predict", "MODEL", photos .. "/mugs/1.jpg" } },
  { "eval", "graft.evaluate(net, d.val) graft.evaluate(net, d.train, { batch_size = 5 })", { "eval", "MODEL", photos } },
  { "report", 'graft.report(graft.evaluate(net, d.val, { photos = true }), graft.out "look.html")',
    { "eval", "MODEL", photos, "--report", "../look.html" } },
  { "features", 'net:features(graft.zeros(2, 3, 16, 16), { "layer1", "layer4" })' },
  { "forward", "net:forward(graft.ones(1, 3, 16, 16), { heads = true }) net(graft.ones(1, 3, 16, 16))" },
  { "probe", 'tostring(graft.advise(graft.probe(net, d, { folds = 2, fractions = { 0.5 } })))',
    { "probe", "MODEL", photos, "--folds", "2" } },
  { "embed", 'graft.embed(net, d.val, { at = "layer2", normalize = true }) graft.embed(net, d.train, {})',
    { "embed", "MODEL", photos .. "/mugs", "--at", "layer2", "--out", "../embedded.npy" } },
  { "grad_cam",
     'net:grad_cam { d.val[1].file, d.train[1].file } net:grad_cam(d.val[1].file, { at = "layer2", class = "mugs" })' },
  { "occlusion", "net:occlusion(d.val[1].file, { patch = 8, stride = 8 })" },
  { "filters", 'graft.image.grid(net:filters()) graft.image.grid(net:features(graft.zeros(1, 3, 16, 16), "layer1"))' },
  { "exciting", 'graft.exciting(net, d.val) graft.exciting(net, d.train, { at = "layer2", unit = 1 })' },
  { "neighbours", "graft.neighbours(net, d.train, d.val[1].file)" },
  { "map", 'graft.map(net, d.train):image{} graft.map(net, d.val, { method = "tsne" })' },
  { "batches", 'for _ in d.train:batches { net = net, batch_size = 5, shuffle = true, augment = "standard" } do break end' },
  { "summary", 'net:summary "*" tostring(net) tostring(d) net:clone():cut "layer2":close()' },
  { "export", 'local path = os.tmpname() net:export(path, { aux = true }) os.remove(path)',
    { "export", "MODEL", "../exported.onnx", "--force" } },
  { "inspect", nil, { "inspect", "MODEL" } },
  { "inspect an ONNX file", nil, { "inspect", "../exported.onnx" } }, -- what the row above left
  { "inspect a run", nil, { "inspect", "RUN" } },
  { "inspect photos", nil, { "inspect", photos } },
}

-- A program that looks before, between and within its trainings, and tells its end.
local function program(look)
  return helpers.recipe(([[
    local graft = require "graft"
    local core = require "graft.core"
    local d = graft.data.folder(%q, { val = 0.25 })
    local net = graft.load(%q):replace_head(d):freeze "body":unfreeze "layer4":add_aux("layer3", {})
    local hard = graft.nn.cross_entropy {}
    local function noisy(logits, y, b) -- draws from the stream of random tensors
      local value, gradient = hard(logits, y)
      return value + graft.rand(1):sum() * 1e-3, gradient
    end
    local looking = false
    local function look()
      if looking then return end -- a look may train a copy
      looking = true
      local before = { net:digest(), core.draws(), core.seed(), core.fit(), core.threads(), graft.mode }
      do local graft, net, d, noisy = graft, net, d, noisy %s end
      local after = { net:digest(), core.draws(), core.seed(), core.fit(), core.threads(), graft.mode }
      for i = 1, #before do assert(before[i] == after[i], "look changed number " .. i) end
      looking = false
    end
    look()
    graft.fit(net, d, { epochs = 2, batch_size = 7, augment = "light", on_epoch = look, loss = noisy,
      optimizer = graft.sgd { lr = 0.05, momentum = 0.9 } })
    look()
    net:freeze "layer4"
    graft.fit(net, d, { epochs = 2, batch_size = 7, on_epoch = look, optimizer = graft.sgd { lr = 0.05 } })
    look()
    local tr = graft.trainer(net, { optimizer = graft.adamw { lr = 0.01 } })
    for x, y, b in d.train:batches { net = net, batch_size = 7, shuffle = true, augment = "light" } do
      tr:step(x + graft.randn(table.unpack(x.shape)) * 0.01, y, b)
      look()
    end
    net:reinit "layer4"
    io.stderr:write("end ", net:digest(), " ", graft.rand(2):sum(), "\n")
  ]]):format(photos, weights, look or ""))
end

local function ending(look)
  return helpers.done({ "run", program(look), "--out", helpers.fresh "run", "--quiet", "--trust" }).err:match "end (.-)\n"
end

-- Digests of all files that a look could touch.
local function files(...)
  local all = {}
  for i, path in ipairs { photos, weights, ... } do
    all[i] = helpers.shell(("find '%s' -type f -print0 | sort -z | xargs -0 sha256sum; find '%s' | sort"):format(path, path))
  end
  return table.concat(all, "\n")
end

describe("looking changes nothing, in one program:", function()
  local plain = ending(nil)
  for _, row in ipairs(looks) do
    if row[2] then
      it(row[1], function()
        local before = files()
        assert.equal(plain, ending(row[2]))
        assert.equal(before, files())
      end)
    end
  end
  it("all of them", function()
    local all = {}
    for i, row in ipairs(looks) do
      all[i] = row[2] or ""
    end
    assert.equal(plain, ending(table.concat(all, "\n")))
  end)
end)

describe("looking changes no file, and leaves none:", function()
  local run = helpers.fresh "run"
  helpers.done { "run", "head_only", "--data", photos, "--weights", weights, "--out", run, "--epochs", "1", "--quiet" }
  for _, row in ipairs(looks) do
    if row[3] then
      it("graft " .. row[3][1] .. (row[3][1] == "inspect" and " of " .. row[3][2] or ""), function()
        local here = helpers.fresh "here"
        helpers.shell(("mkdir '%s'"):format(here))
        local words = {}
        for i, word in ipairs(row[3]) do
          words[i] = word == "MODEL" and run .. "/best.safetensors" or word == "RUN" and run or word
        end
        local before = files(run, here)
        helpers.done(words, { before = ("cd '%s';"):format(here) })
        assert.equal(before, files(run, here))
      end)
    end
  end
end)
