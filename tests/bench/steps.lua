-- Training steps on random photos, for compare_steps.py: `graft -e "loadfile('tests/bench/steps.lua'){...}"`. Reads
-- lines with a case from stdin and answers each with the milliseconds of one step. The argument is
-- { model=, batch=, threads=, size= }. Cases: "full", and "last", which trains the last stage and the head.
local core = require "graft.core"
local models = require "graft.models"
local bench = ...

core.threads(bench.threads)
local y = core.tensor.zeros(bench.batch, 1000)
for i = 1, bench.batch do
  y[i][(i * 37) % 1000 + 1] = 1
end
local x = core.tensor.randn(bench.batch, 3, bench.size, bench.size)

local function trainer(case)
  local net = models.build(models.spec(bench.model), 1000, bench.size)
  if case == "last" then
    local stages = net:stages()
    net:freeze { "*" }
    net:unfreeze { stages[#stages], "head" }
  end
  return core.trainer(net, { optimizer = { kind = "sgd", lr = 1e-3, momentum = 0.9 }, loss = { kind = "cross_entropy" },
    batch_size = bench.batch })
end

local trainers = {}
for case in io.lines() do
  trainers[case] = trainers[case] or trainer(case)
  local start = core.clock()
  trainers[case]:step(x, y)
  print(("%.3f"):format(1000 * (core.clock() - start)))
  io.stdout:flush()
end
