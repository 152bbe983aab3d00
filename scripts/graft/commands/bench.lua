-- graft bench [--model M] [--batch N] [--case C] [--layers]

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local progress = require "graft.progress"
local bench = require "graft.bench"

local command = {}

command.options = {
   model = { type = "string", default = "resnet18", help = "architecture, with random weights (graft help models)" },
   batch = { type = "integer", min = 1, max = 65536, default = 32, help = "photos in a batch" },
   case = { type = "choice", choices = bench.cases, help = "what to measure (default: all)" },
   layers = { type = "boolean", help = "the time of every step of the plan as well" },
   stash = { type = "choice", choices = { "none", "bf16" }, help = "how training keeps activations (default: none, float32)" },
   runs = { type = "integer", min = 1, max = 1000, help = "after 0.3 s of warm-up (default: at least 5, for 1.5 s)" },
   prefix = { type = "choice", choices = { "float32", "bf16", "int8" }, help = "of convolutions, for --case inference" },
   size = { type = "integer", min = 1, max = 4096, help = "pixels a side (default: the model's own)" },
}

command.notes = [[
Cases, each in a process of its own:

  inference  a batch forward
  head       a training step of the classifier on a frozen body that runs in each step (nothing is kept)
  last       a training step of the last stage and the classifier
  full       a training step of everything
  startup    from the start of the program to its first training step: weights read from a file, plan compiled

Times are medians with the smallest and the largest run. GFLOP/s count a multiply-add of a direct computation as 2,
once for the forward pass and once for each gradient, whatever the kernels really do. Memory is what Graft allocated
at the peak, and what the whole process held (VmHWM).

With --json a list of {model, case, batch, threads, size, runs, ms, ms_per_image, min, max, gflops, gflop_per_image,
peak_memory, process_memory}: min and max are milliseconds a photo like ms_per_image; ms is the median of the whole
batch. With --stash also stash, in the cases that train; all but startup have prefix, the precision.
For startup ms_per_image and gflops are null, and ms, min and max are milliseconds of one start. With --layers
also layers, a list of {layer, kind, fused, kernel, pass, shape, ms, share, gflops, gbytes_per_second}.]]

local function check_model(name)
   local models = require "graft.models"
   if models.specs[name] then
      return
   end
   local near = core.nearest(name, models.names)
   options.usage(("--model: there is no architecture %q; %s"):format(name, near and ("nearest: " .. near)
      or "there is: " .. table.concat(models.names, ", ")), near)
end

local function number(value, digits)
   return value ~= core.null and ("%." .. (digits or value < 10 and 2 or 1) .. "f"):format(value) or "-"
end

local function memory(row)
   return format.bytes(row.peak_memory), row.process_memory ~= core.null and format.bytes(row.process_memory) or "-"
end

-- The rows of batches and steps as one table, start-up as a line below it.
local function table_of(rows)
   local lines, start_up = { { "case", "ms/photo", "min", "max", "photos/s", "GFLOP/s", "allocated", "process" } }, nil
   for _, row in ipairs(rows) do
      local allocated, process = memory(row)
      if row.case == "startup" then
         start_up = ("startup    %s ms (%s to %s) to the first training step; %s allocated, process %s"):format(
            number(row.ms), number(row.min), number(row.max), allocated, process)
      else
         lines[#lines + 1] = { row.case, number(row.ms_per_image), number(row.min), number(row.max),
            number(1000 / row.ms_per_image), number(row.gflops), allocated, process }
      end
   end
   local parts = {}
   parts[1] = #lines > 1 and format.columns(lines, "lrrrrrrr") or nil
   parts[#parts + 1] = start_up
   return table.concat(parts, "\n")
end

-- "conv2d+batch_norm+relu6"; kinds that a step has several of with their number: "2 conv2d+2 batch_norm+relu6".
local function work_of(row)
   local counts, order = {}, {}
   for i = 0, #row.fused do
      local kind = i == 0 and row.kind or row.fused[i]
      order[#order + 1] = not counts[kind] and kind or nil
      counts[kind] = (counts[kind] or 0) + 1
   end
   for i, kind in ipairs(order) do
      order[i] = counts[kind] > 1 and ("%d %s"):format(counts[kind], kind) or kind
   end
   return table.concat(order, "+")
end

-- One direction of a case, every step in the order in which it runs, and what they take together.
local function layer_table(row, pass)
   local lines, ms, share = { { "step", "does", "kernel", "output", "ms", "share", "GFLOP/s", "GB/s" } }, 0, 0
   for _, layer in ipairs(row.layers) do
      if layer.pass == pass then
         lines[#lines + 1] = { layer.layer, work_of(layer), layer.kernel, format.shape(layer.shape), number(layer.ms, 2),
            ("%.1f %%"):format(100 * layer.share), number(layer.gflops, 1), number(layer.gbytes_per_second, 1) }
         ms, share = ms + layer.ms, share + layer.share
      end
   end
   if #lines == 1 then
      return nil, 0
   end
   lines[#lines + 1] = { "all", "", "", "", number(ms, 2), ("%.1f %%"):format(100 * share) }
   return ("%s, %s, a batch of %d\n%s"):format(row.case, pass, row.batch, format.columns(lines, "llllrrrr", "  ")), ms
end

-- Steps of one kernel taken together, the slowest first.
local function kernel_table(row)
   local sums, order = {}, {}
   for _, layer in ipairs(row.layers) do
      local name = layer.kernel == layer.kind and layer.kind or layer.kind .. ", " .. layer.kernel
      if not sums[name] then
         sums[name] = { name = name, forward = 0, backward = 0, share = 0, gflop = 0 }
         order[#order + 1] = sums[name]
      end
      local sum = sums[name]
      sum[layer.pass], sum.share = sum[layer.pass] + layer.ms, sum.share + layer.share
      sum.gflop = sum.gflop + (layer.gflops ~= core.null and layer.gflops * layer.ms / 1000 or 0)
   end
   table.sort(order, function(a, b)
      return a.share > b.share or a.share == b.share and a.name < b.name
   end)
   local lines = { { "kernel", "forward ms", "backward ms", "share", "GFLOP/s" } }
   for i, sum in ipairs(order) do
      local seconds = (sum.forward + sum.backward) / 1000
      lines[i + 1] = { sum.name, number(sum.forward, 2), number(sum.backward, 2), ("%.1f %%"):format(100 * sum.share),
         number(sum.gflop > 0 and sum.gflop / seconds or core.null, 1) }
   end
   return ("%s, by kernel\n%s"):format(row.case, format.columns(lines, "lrrrr", "  "))
end

local function layers_of(row)
   local parts, spent = {}, 0
   for _, pass in ipairs { "forward", "backward" } do
      local text, ms = layer_table(row, pass)
      parts[#parts + 1] = text
      spent = spent + ms
   end
   parts[#parts + 1] = kernel_table(row)
   parts[#parts + 1] = ("  outside the steps (%s): %s ms of %s"):format(
      row.case == "inference" and "photos copied in" or "photos copied in, loss, optimiser",
      number(math.max(row.ms - spent, 0), 2), number(row.ms, 2))
   return table.concat(parts, "\n\n")
end

local function show(rows)
   local first = rows[1]
   local stash
   for _, row in ipairs(rows) do
      stash = stash or row.stash
   end
   local prefix = first.prefix and first.prefix ~= "float32" and format.precision(first.prefix) .. ", " or ""
   print(("%s, %d x %d pixels, batch %d%s, %s%s, %s, %s"):format(first.model, first.size, first.size, first.batch,
      stash == "bf16" and " (activations kept as bf16)" or "", prefix, format.plural(first.threads, "thread"), core.cpu,
      core.blas()))
   print(table_of(rows))
   local layered = false
   for _, row in ipairs(rows) do
      if row.layers then
         layered = true
         print("\n" .. layers_of(row))
      end
   end
   if layered then
      print("\nEach step has the median of its times. GB/s: its inputs, parameters, outputs and gradients, each touched once.")
   end
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft bench")
   if rest[1] then
      options.usage(("graft bench takes no argument %q; options look like --model NAME"):format(rest[1]))
   end
   local function chosen(name)
      return given[name] == nil and command.options[name].default or given[name]
   end
   check_model(chosen "model")
   local prefix = given.prefix ~= "float32" and given.prefix or nil
   if prefix and given.case ~= "inference" then
      options.usage(("--prefix %s is measured with --case inference alone: all else is float32"):format(prefix))
   end
   local cases, rows = given.case and { given.case } or bench.cases, {}
   local bar = progress.bar("bench", #cases)
   for _, case in ipairs(cases) do
      bar:step(0, case)
      bar:line(("%s: %s"):format(chosen "model", case))
      rows[#rows + 1] = bench.run { model = chosen "model", case = case, batch = chosen "batch", threads = core.threads(),
         size = given.size, runs = given.runs, layers = given.layers, stash = given.stash, prefix = prefix }
      bar:step(1, case)
   end
   bar:clear()
   if context.json then
      print(core.json(core.array(rows), 2))
   else
      show(rows)
   end
   return 0
end

return command
