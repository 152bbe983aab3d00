-- Studies: the rule of the verdict, the order and the effort of trials, resuming, budgets.
local helpers = require "helpers"
local graft = require "graft"
local core = require "graft.core"
local study = require "graft.study"
local verdict = require "graft.study_verdict"

-- An arm: lists of accuracies over the seeds, from the smallest budget on; the curve at the largest.
local function arm(budgets, curve)
  local list = { curve = curve or {} }
  for i, accuracies in ipairs(budgets) do
    list[i] = { budget = 10 ^ i // 1, accuracy = {} }
    for seed, value in ipairs(accuracies) do
      list[i].accuracy[seed] = value
    end
  end
  return list
end

local names = { "pretrained", "random", budget = "epochs" }

describe("the verdict", function()
  local function judged(a, b)
    return (verdict.judge(a, b, names))
  end
  it("is pretrained_better where the other one has stopped rising behind it", function()
    local a, b = arm { { 0.88, 0.9, 0.89 }, { 0.9, 0.91, 0.9 } }, arm { { 0.7, 0.71, 0.7 }, { 0.7, 0.715, 0.705 } }
    local word, why = verdict.judge(a, b, names)
    assert.equal("pretrained_better", word)
    assert.contains("at epochs 100.0: +19.7 points over 3 seeds", (why:gsub("100:", "100.0:")))
  end)
  it("is not_converged where the one behind still rises, over the budgets or over its curve", function()
    assert.equal("not_converged", judged(arm { { 0.88, 0.9 }, { 0.9, 0.91 } }, arm { { 0.5, 0.5 }, { 0.7, 0.71 } }))
    local rising = {}
    for i = 1, 20 do
      rising[i] = 0.3 + 0.02 * i
    end
    assert.equal("not_converged", judged(arm { { 0.9, 0.91 } }, arm({ { 0.7, 0.7 } }, rising)))
    assert.equal("not_converged", judged(arm { { 0.9 } }, arm {}))
    -- rising, but too slowly ever to catch up
    assert.equal("pretrained_better", judged(arm { { 0.9, 0.9 }, { 0.91, 0.91 } }, arm { { 0.82, 0.82 }, { 0.84, 0.84 } }))
  end)
  it("is only_faster where the lead is gone at the end", function()
    local word, why = verdict.judge(arm { { 0.85, 0.86 }, { 0.9, 0.91 } }, arm { { 0.6, 0.62 }, { 0.895, 0.905 } }, names)
    assert.equal("only_faster", word)
    assert.contains("but +24.5 points at epochs 10", why)
    local quick, slow = { 0.8, 0.9, 0.9, 0.9, 0.9, 0.9 }, { 0.3, 0.5, 0.7, 0.8, 0.9, 0.9 }
    assert.equal("only_faster", judged(arm({ { 0.9, 0.9 } }, quick), arm({ { 0.9, 0.9 } }, slow)))
  end)
  it("is equal where nothing counts, also where the noise between seeds is larger than the difference", function()
    local same = { 0.5, 0.7, 0.9, 0.9 }
    assert.equal("equal", judged(arm({ { 0.9, 0.91 } }, same), arm({ { 0.902, 0.905 } }, same)))
    assert.equal("equal", judged(arm({ { 0.99, 0.85, 0.95 } }, same), arm({ { 0.90, 0.95, 0.86 } }, same)))
    local word, why = verdict.judge(arm { { 0.9, 0.9 } }, arm { { 0.95, 0.95 } }, names)
    assert.equal("equal", word)
    assert.contains("nothing to gain from pretrained", why)
  end)
  it("of several comparisons is the weakest claim", function()
    assert.equal("only_faster", verdict.together { "pretrained_better", "only_faster" })
    assert.equal("equal", verdict.together { "equal", "pretrained_better", "only_faster" })
    assert.equal("not_converged", verdict.together { "equal", "not_converged" })
    assert.equal("not_converged", verdict.together {})
  end)
end)

local photos = helpers.photos("studied", { "mugs", "bowls" }, 8)
local weights = helpers.weights()

local text = ([[
  local graft = require "graft"
  local opt = graft.options { hours = 1.0 }
  local d = graft.data.folder(%q, { val = 0.25 })
  local n = 0
  local s = graft.study { seeds = { 3, 5 }, tune = { lr = { 0.01, 0.1 } }, budget = opt.hours * 3600,
    vary = { { "init", { "pretrained", "random" } }, { "epochs", { 1, 2 } } },
    trial = function(c)
      n = n + 1
      if n == 4 and graft.mode == "run" and os.getenv "STUDY_DIES" then os.exit(9) end
      io.stderr:write(("trial %%s %%d %%g %%d %%.6f\n"):format(c.init, c.epochs, c.lr, c.seed, graft.rand(1):sum()))
      local net = graft.load(%q):replace_head(d)
      if c.init == "random" then net:reinit("*") end
      return graft.fit(net, d, { epochs = c.epochs, optimizer = graft.sgd { lr = c.lr, momentum = 0.9 } })
    end }
  print(s)
  print("rows " .. #s.rows .. " left " .. s.left .. " " .. s.verdict)
  print(("%%.6f"):format(graft.rand(1):sum()))
]]):format(photos, weights)
local recipe = helpers.recipe(text, "study_recipe.lua")

local function trials(result)
  local list = {}
  for line in ("\n" .. result.err):gmatch "\ntrial (%l[^\n]+)" do
    list[#list + 1] = line:match "^%a+ %d+ [%d.]+ %d+ [%d.]+$"
  end
  return list
end

describe("graft.study", function()
  local out = helpers.fresh "study"
  local result = helpers.done { "run", recipe, "--out", out, "--trust" }
  local ran = trials(result)

  it("tries every setting on every arm with the first seed, then the best one with the others; arms take turns", function()
    assert.equal(4 * 2 + 4, #ran)
    for i, line in ipairs(ran) do
      local init, epochs, lr, seed, drawn = line:match "^(%a+) (%d+) ([%d.]+) (%d+) ([%d.]+)"
      assert.equal(drawn, ran[i <= 8 and 1 or 9]:match "%S+$") -- the seed is set before each trial
      local place = (i - 1) % 4
      assert.equal(place < 2 and "pretrained" or "random", init)
      assert.equal(place % 2 == 0 and "1" or "2", epochs)
      assert.equal(i <= 8 and "3" or "5", seed)
      if i <= 8 then
        assert.equal(i <= 4 and "0.01" or "0.1", lr)
      end
    end
    assert.contains("rows 12 left 0", result.out)
    for _, piece in ipairs { "accuracy", "verdict", "rule", "standard deviation" } do
      assert.contains(piece, result.out)
    end
  end)

  it("keeps the seed of the program, its numbers, and a page; no weights", function()
    local untouched = helpers.done { "-e", "print(('%.6f'):format(graft.rand(1):sum()))" }
    assert.equal(untouched.out:match "[%d.]+", result.out:match "([%d.]+)\n$")
    local document = core.parse_json(helpers.read(out .. "/study.json"))
    assert.equal(12, #document.trials)
    assert.contains("<svg", helpers.read(out .. "/report.html"))
    local left = helpers.shell(("find '%s' -name '*.safetensors' -o -name '*.sha256' -path '*trials*'"):format(out))
    assert.equal("", (left:gsub("%s", "")))
    assert.contains("epoch", helpers.read(out .. "/trials/1/metrics.csv"))
    local lock = core.parse_json(helpers.read(out .. "/recipe.lock"))
    assert.equal(12, #lock.fits)
  end)

  it("goes on where it was killed, with the same numbers", function()
    local there = helpers.fresh "killed"
    local killed = helpers.graft({ "run", recipe, "--out", there, "--trust", "--quiet" },
      { before = "export STUDY_DIES=1;" })
    assert.equal(9, killed.status)
    local again = helpers.done { "run", recipe, "--out", there, "--trust", "--resume", "--quiet" }
    assert.equal(12 - 3, #trials(again))
    local function accuracies(folder)
      local list = {}
      for i, trial in ipairs(core.parse_json(helpers.read(folder .. "/study.json")).trials) do
        list[i] = trial.accuracy
      end
      return list
    end
    assert.same(accuracies(out), accuracies(there))
  end)

  it("leaves out what does not fit the budget, and does not pretend to know", function()
    local short = helpers.done { "run", recipe, "--out", helpers.fresh "short", "--hours", "1e-9" }
    assert.contains("rows 1 left 11 not_converged", short.out)
    assert.contains("11 trials of 12 did not run", short.out)
  end)

  it("is planned by one trial of each arm", function()
    local planned = helpers.done { "plan", recipe }
    assert.contains("arm 4 of 4  init random, epochs 2", planned.out)
    assert.contains("12 trials: 4 arms, 2 settings tried on each, 2 seeds", planned.out)
    assert.falsy(planned.out:find "rows")
  end)

  it("refuses what it cannot study, and says why", function()
    local function refused(pattern, options)
      assert.error_matches(function()
        graft.study(options)
      end, pattern)
    end
    local function trial() end
    refused("vary must list what differs", { trial = trial })
    refused("trial = function", { vary = { { "a", { 1, 2 } } } })
    refused("vary must list {NAME", { vary = { { "a" } }, trial = trial })
    refused("a name of every row", { vary = { { "seed", { 1 } } }, trial = trial })
    refused("there twice", { vary = { { "a", { 1 } } }, tune = { a = { 1 } }, trial = trial })
    refused("numbers, texts or booleans", { vary = { { "a", { {} } } }, trial = trial })
    refused("whole numbers", { vary = { { "a", { 1 } } }, seeds = { 1.5 }, trial = trial })
    refused("budget is a number", { vary = { { "a", { 1 } } }, budget = -1, trial = trial })
    refused('nearest: "seeds"', { vary = { { "a", { 1 } } }, seed = { 1 }, trial = trial })
    local numbers = {}
    for i = 1, 10001 do
      numbers[i] = i
    end
    refused("at most 10,000", { vary = { { "a", numbers } }, trial = trial })
    refused("trial must return what graft.fit gave; the trial a 1, seed 1 returned nil", { vary = { { "a", { 1 } } },
      trial = trial, out = helpers.fresh "nothing" })
  end)

  it("finds the arms and the budget by what the values are", function()
    local job = study.plan { vary = { { "norm", { "batch", "group" } }, { "epochs", { 30, 3 } },
      { "init", { "random", "pretrained" } } }, seeds = { 1, 2 }, trial = function() end }
    local done = {}
    for number = 1, job.total do
      local arm_number = (number - 1) % #job.arms + 1
      local values = job.arms[arm_number]
      local accuracy = values.init == "pretrained" and 0.9 or values.epochs == 3 and 0.5 or values.norm == "batch" and 0.9 or 0.75
      done[number] = { number = number, arm = arm_number, tuned = 1, seed = job.seeds[(number - 1) // #job.arms + 1],
        values = values, accuracy = accuracy, curve = { { accuracy, 1 } }, seconds = 1, wall = 1, photos = 9, epochs = 3,
        tuning = false, modes = {} }
    end
    local s = study.make(job, done, 0)
    local groups = study.details(s).groups
    assert.same({ "norm batch", "norm group" }, { groups[1].where, groups[2].where })
    assert.same({ "only_faster", "not_converged" }, { groups[1].verdict, groups[2].verdict })
    assert.equal("not_converged", s.verdict)
    assert.contains("norm batch: pretrained against random at epochs 30", s.why)
    assert.contains("init", tostring(s))
    assert.contains("norm group", require("graft.report").html(s))
  end)
end)
