-- `graft bench`: what it reports, not how fast anything is.
local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"

local function quick(...)
  return { "bench", "--model", "fashion", "--batch", "2", "--runs", "2", "--threads", "1", ... }
end

describe("graft bench", function()
  local keys = { "model", "case", "batch", "threads", "min", "max", "peak_memory", "process_memory", "ms", "runs", "size" }

  local layer_keys = { "layer", "kind", "fused", "kernel", "pass", "shape", "ms", "share", "gbytes_per_second" }

  it("measures every case, in JSON", function()
    local rows = helpers.json(quick())
    local cases = { "inference", "head", "last", "full", "startup" }
    assert.equal(#cases, #rows)
    for i, row in ipairs(rows) do
      helpers.has_keys(row, keys, "bench --json")
      assert.equal(cases[i], row.case)
      assert.same({ "fashion", 2, 1, 28 }, { row.model, row.batch, row.threads, row.size })
      assert.equal(2, row.runs)
      assert.is_true(row.process_memory > row.peak_memory / 2 and row.peak_memory > 0)
      if row.case == "startup" then
        assert.equal(core.null, row.ms_per_image)
        assert.equal(core.null, row.gflops)
        assert.is_true(0 < row.min and row.min <= row.ms and row.ms <= row.max)
      else
        assert.is_true(0 < row.min and row.min <= row.ms_per_image and row.ms_per_image <= row.max)
        assert.is_true(math.abs(row.ms - 2 * row.ms_per_image) < 1e-9 * row.ms)
        assert.is_true(math.abs(row.gflops - row.gflop_per_image / row.ms_per_image * 1000) < 1e-6 * row.gflops)
      end
    end
  end)

  it("takes --stash for the cases that train", function()
    local rows = helpers.json(quick("--stash", "bf16"))
    assert.same({ false, "bf16", "bf16", "bf16", false }, { rows[1].stash or false, rows[2].stash, rows[3].stash,
      rows[4].stash, rows[5].stash or false })
    assert.is_nil(helpers.json(quick("--case", "full"))[1].stash)
    helpers.refused(quick("--stash", "bf15"), 2, { "--stash: expected one of none, bf16" })
  end)

  it("counts forward once, and each gradient that exists once more", function()
    local flop = {}
    for _, case in ipairs { "inference", "head", "last", "full" } do
      flop[case] = helpers.json(quick("--case", case))[1].gflop_per_image * 1e9
    end
    local fc, stem = 2 * 96 * 1000, 2 * 24 * 9 * 28 * 28
    assert.equal(fc, math.floor(flop.head - flop.inference + 0.5))
    assert.is_true(flop.head < flop.last and flop.last < flop.full)
    assert.equal(math.floor(3 * flop.inference - stem + 0.5), math.floor(flop.full + 0.5)) -- photos have no gradient
  end)

  it("lists every step with --layers, the backward ones from the last to the first", function()
    local row = helpers.json(quick("--case", "last", "--layers", "--runs", "9"))[1]
    local seen, sum = { forward = {}, backward = {} }, 0
    for _, layer in ipairs(row.layers) do
      helpers.has_keys(layer, layer_keys, "layers")
      table.insert(seen[layer.pass], layer.layer)
      sum = sum + layer.ms
      assert.is_true(math.abs(layer.share * row.ms - layer.ms) < 1e-9 * row.ms)
    end
    assert.equal("stem.conv", seen.forward[1])
    assert.equal("fc", seen.forward[#seen.forward])
    assert.equal("fc", seen.backward[1])
    assert.equal("layer3.0.conv", seen.backward[#seen.backward])
    assert.is_true(sum > 0 and sum <= 2 * row.max * row.batch, "of a run's time, not of all runs")
    assert.same({ "batch_norm", "relu" }, row.layers[1].fused)
  end)

  it("is a table for people, and says on stderr how far it is", function()
    local result = helpers.done(quick("--case", "head", "--layers"))
    assert.matches("^fashion, 28 x 28 pixels, batch 2, 1 thread, ", result.out)
    assert.matches("\ncase +ms/photo +min +max +photos/s +GFLOP/s +allocated +process\nhead +%d", result.out)
    assert.contains("\nhead, forward, a batch of 2\n  step ", result.out)
    assert.contains("\nhead, backward, a batch of 2\n  step ", result.out)
    assert.matches("\nhead, by kernel\n  kernel +forward ms +backward ms +share +GFLOP/s\n  %l", result.out)
    assert.contains("outside the steps (photos copied in, loss, optimiser): ", result.out)
    assert.equal("fashion: head\n", result.err)
    result = helpers.done(quick("--case", "startup", "--quiet"))
    assert.matches("\nstartup +%d[%d.]* ms %(%d[%d.]* to %d[%d.]*%) to the first training step; ", result.out)
    assert.equal("", result.err)
  end)

  it("answers mistakes with the nearest name and 2", function()
    helpers.refused({ "bench", "--model", "resnet81" }, 2, { '"resnet81"', "nearest: resnet18" })
    helpers.refused({ "bench", "--case", "ful" }, 2, { '"ful"', 'nearest: "full"' })
    helpers.refused({ "bench", "--lyers" }, 2, "nearest: --layers")
    helpers.refused({ "bench", "--batch", "0" }, 2, "--batch")
    helpers.refused({ "bench", "resnet18" }, 2, 'no argument "resnet18"')
  end)

  it("fails when a case cannot run, and says why", function()
    helpers.refused({ "bench", "--model", "resnet18", "--size", "8", "--batch", "1", "--case", "full", "--runs", "1" }, 1,
      { "more than one value a channel", '"full" of resnet18 ended with status 1' })
  end)

  it("has help", function()
    for _, words in ipairs { { "bench", "--help" }, { "help", "bench" } } do
      local text = helpers.done(words).out
      assert.matches("^usage: graft bench %[OPTIONS%]\n", text)
      for _, word in ipairs { "--model", "--batch", "--case", "--layers", "--threads", "--json", "startup", "process_memory" } do
        assert.contains(word, text)
      end
    end
  end)

  -- The child is found by its job, which is a word of its command line.
  it("ends at Ctrl-C together with the process that measures", function()
    local text = helpers.shell(([[cd '%s'; children() { grep -lsa ':50[9]' /proc/[0-9]*/cmdline | wc -l; }
      '%s' bench --model fashion --runs 1000 --batch 509 --case full >out 2>err & pid=$!; n=0
      while [ $(children) = 0 ] && [ $n -lt 500 ]; do sleep 0.02; n=$((n + 1)); done
      children; kill -INT $pid; wait $pid; echo $?; children; tail -n 1 err]]):format(helpers.root, helpers.program))
    assert.equal("1\n130\n0\ngraft: interrupted", text)
  end)
end)

describe("core.bench", function()
  -- A network whose middle calls a function of the test's.
  local function meddled(what)
    local own = graft.nn.layer { kind = "meddling", pure = true, forward = function(x)
      what()
      return x * 1
    end, backward = function(gy) return gy * 1 end }
    local net = graft.nn.network { name = "small", input = { 3, 8, 8 }, classes = { "ants", "bees" }, head = "fc",
      build = function(x)
        return x:conv2d("conv1", { out = 4, kernel = 3 }):apply("own", own):global_avg_pool():linear("fc", { out = 2 })
      end }
    return require("graft.network").handle(net, "test")
  end

  it("cannot be closed, run or asked by a layer while it runs", function()
    for _, training in ipairs { false, true } do
      local bench, calls = nil, 0
      bench = core.bench(meddled(function()
        for _, method in ipairs { "close", "run", "profile", "steps" } do
          local err = assert.error_matches(function() bench[method](bench) end, "bench:" .. method .. ": a run is under way")
          assert.is_true(core.is_error(err))
          calls = calls + 1
        end
      end), { batch = 2, training = training })
      bench:run()
      assert.is_true(calls >= 4)
      bench:close()
      bench:close()
      assert.error_matches(function() bench:run() end, "must be an open bench")
    end
  end)

  it("holds its network open, and lets it go when it fails or ends", function()
    local net = meddled(function() end)
    local bench = core.bench(net, { batch = 2, training = true })
    assert.error(function() net:close() end)
    bench:close()
    core.memory(core.memory().live + 1000)
    assert.error(function() core.bench(net, { batch = 2000 }) end)
    core.memory(0)
    net:close()
    assert.error(function() core.bench(net, { batch = 2 }) end)
  end)

  it("goes on after a run that failed", function()
    local fails = true
    local bench <close> = core.bench(meddled(function()
      if fails then
        error("on purpose", 0)
      end
    end), { batch = 2 })
    assert.error_matches(function() bench:run() end, "on purpose")
    fails = false
    bench:run()
    assert.is_true(bench:steps()[1].forward.flop > 0)
  end)
end)
