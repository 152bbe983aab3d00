-- What `graft bench` measures. Each case runs in a process of its own (bench.child), so that its peaks of memory are its own.

local core = require "graft.core"
local models = require "graft.models"
local process = require "graft.process"

local bench = {}

bench.cases = { "inference", "head", "last", "full", "startup" }

local CLASSES = 1000
local WARM = 0.3 -- seconds, at least, before anything counts
local FEWEST_RUNS, MOST_RUNS = 5, 1000 -- where nobody says how many
local ENOUGH = 1.5 -- seconds of measuring, with the fewest runs at least

-- What a case trains: patterns of layers, given the names of the stages; nil: nothing.
local trained = {
   head = function() return { "head" } end,
   last = function(stages) return { stages[#stages], "head" } end,
   full = function() return { "*" } end,
}

local function build(job)
   return models.build(models.spec(job.model, "graft bench"), CLASSES, job.size)
end

local function memory_peaks(row)
   row.peak_memory, row.process_memory = core.memory().peak, process.peak() or core.null
   return row
end

-- Seconds of each run, by the clock here unless it returns them itself. `count`: how many, nil: as many as it needs.
local function time_runs(run, count)
   local times, start = {}, core.clock()
   repeat
      local began = core.clock()
      times[#times + 1] = run() or core.clock() - began
   until #times == (count or MOST_RUNS) or not count and #times >= FEWEST_RUNS and core.clock() - start >= ENOUGH
   return times
end

local function warm_up(run)
   local start = core.clock()
   repeat
      run()
   until core.clock() - start >= WARM
end

-- Median, smallest, largest.
function bench.spread(times)
   local sorted = table.move(times, 1, #times, 1, {})
   table.sort(sorted)
   local middle = (#sorted + 1) // 2
   local median = #sorted % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2
   return median, sorted[1], sorted[#sorted]
end

-- Floating-point operations of one run over the whole plan.
local function flop_of(steps)
   local flop = 0
   for _, step in ipairs(steps) do
      flop = flop + step.forward.flop + (step.backward and step.backward.flop or 0)
   end
   return flop
end

-- One direction of a step as `--layers` shows it. `spent`: its seconds, `whole`: those of a run.
local function layer_row(step, pass, spent, whole)
   local work = step[pass]
   return { layer = step.layer, kind = step.kind, kernel = step.kernel, fused = core.array(step.absorbed), pass = pass,
      shape = core.array(step.shape), ms = 1000 * spent, share = spent / whole,
      gflops = work.flop > 0 and work.flop / spent / 1e9 or core.null, gbytes_per_second = work.bytes / spent / 1e9 }
end

-- Forward steps in their order, then backward ones in theirs. `samples`: the steps after each run, profiled alone. Each
-- step gets the median of its own times, so that one that was held up once is not taken for slow.
local function layer_rows(samples, whole)
   local function median(i, pass)
      local times = {}
      for n, steps in ipairs(samples) do
         times[n] = steps[i][pass].seconds
      end
      return (bench.spread(times))
   end
   local rows, steps = {}, samples[1]
   for i, step in ipairs(steps) do
      rows[#rows + 1] = layer_row(step, "forward", median(i, "forward"), whole)
   end
   for i = #steps, 1, -1 do
      if steps[i].backward then
         rows[#rows + 1] = layer_row(steps[i], "backward", median(i, "backward"), whole)
      end
   end
   return core.array(rows)
end

-- Runs one case of batches or training steps in this process; returns its row.
function bench.measure(job)
   local net, choose = build(job), trained[job.case]
   if choose then
      net:freeze { "*" }
      net:unfreeze(choose(net:stages()))
   end
   if job.prefix then -- all of it is a frozen prefix then
      net:freeze { "*" }
   end
   local running <close> = core.bench(net, { batch = job.batch, training = choose ~= nil, stash = job.stash,
      prefix = job.prefix })
   local function run()
      running:run()
   end
   warm_up(run)
   local samples = {}
   local times = time_runs(not job.layers and run or function()
      running:profile(true)
      local began = core.clock()
      run()
      local seconds = core.clock() - began
      samples[#samples + 1] = running:steps()
      return seconds
   end, job.runs)
   local median, low, high = bench.spread(times)
   local steps = running:steps()
   local flop, each = flop_of(steps), 1000 / job.batch
   local row = memory_peaks { model = job.model, case = job.case, batch = job.batch, threads = core.threads(),
      size = net:input_shape()[2], runs = #times, ms = 1000 * median, ms_per_image = each * median, min = each * low,
      stash = choose and job.stash or nil, prefix = job.prefix or "float32",
      max = each * high, gflops = flop / median / 1e9, gflop_per_image = flop / job.batch / 1e9 }
   row.layers = job.layers and layer_rows(samples, median) or nil
   return row
end

-- From the start of a process to where its first training step would begin: weights read from a file, body frozen, plan
-- compiled. The parent has the clock, and stops it when the first word comes.
local function start_up(job)
   local handle = require("graft.network").handle(require("graft.network").load(job.file), "graft bench")
   if job.size then
      handle:set_size(job.size)
   end
   handle:freeze { "body" }
   local ready = core.bench(handle, { batch = job.batch, training = true })
   io.stdout:write(" ")
   io.stdout:flush()
   local row = memory_peaks { threads = core.threads(), size = handle:input_shape()[2] }
   ready:close()
   return row
end

-- What the new process does: `text` is the job as JSON. Prints the row.
function bench.child(text)
   local job = core.parse_json(text)
   core.threads(job.threads)
   require("graft.context").quiet = true
   local row = job.case == "startup" and start_up(job) or bench.measure(job)
   print(core.json(row))
end

-- Starts that process. Returns its row, and the seconds until its first word.
local function in_child(job)
   local text, status, first = core.child { "-e", 'require("graft.bench").child(...)', core.json(job) }
   if status ~= 0 then
      core.error("data", ("graft bench: the process that measured %q of %s ended with status %d"):format(job.case, job.model,
         status))
   end
   return core.parse_json(text), first
end

local function save_weights(job, path)
   local net <close> = build(job)
   local list = {}
   for i, tensor in ipairs(net:tensors()) do
      list[i] = { tensor.name, net:get(tensor.name) }
   end
   core.save_weights(path, list)
end

-- The same as measure, for "startup". The first start brings the files into memory and does not count.
local function measure_start_up(job)
   local temporary, row = os.tmpname(), nil
   job.file = temporary .. ".safetensors"
   local ok, times = pcall(function()
      save_weights(job, job.file)
      in_child(job)
      return time_runs(function()
         local first
         row, first = in_child(job)
         return first
      end, job.runs)
   end)
   os.remove(temporary)
   os.remove(job.file)
   if not ok then
      error(times, 0)
   end
   local median, low, high = bench.spread(times)
   row.model, row.case, row.batch, row.runs = job.model, job.case, job.batch, #times
   row.ms, row.min, row.max = 1000 * median, 1000 * low, 1000 * high
   row.ms_per_image, row.gflops = core.null, core.null
   return row
end

-- job: {model=, case=, batch=, threads=, size=|nil, runs=|nil, layers=|nil, stash=|nil, prefix=|nil (for "inference")}.
-- Returns the row of graft bench --json.
function bench.run(job)
   if job.case == "startup" then
      return measure_start_up(job)
   end
   return (in_child(job))
end

return bench
