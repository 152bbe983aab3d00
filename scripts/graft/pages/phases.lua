-- Parts of the page of a run that tell of its phases: what was trained, curves, cost, and how to make it all again.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local page = require "graft.page"
local plot = require "graft.plot"

local phases = {}

local escape = page.escape

local function name_of(chapter)
   return chapter.name or "phase " .. chapter.number
end

-- ---- what was trained ----

local FROZEN = "Frozen layers keep what they learnt before, to the last bit: no gradients, no weight decay, batch-norm "
   .. "statistics fixed, dropout off. Trained layers learn from your photos at the rate (lr) in their row."

local function plan_rows(chapter)
   local rows, cut = {}, false
   for _, stage in ipairs(chapter.stages) do
      cut = cut or stage.cached ~= nil
      if stage.parameters > 0 then
         rows[#rows + 1] = { stage.name, stage.state or "-", stage.lr or "-", stage.norm or "-", format.count(stage.parameters),
            format.shape(stage.shape), stage.source or "-", stage.cached and "↓" or "" }
      end
   end
   return rows, cut
end

local function plan_of(chapter, several)
   local rows, cut = plan_rows(chapter)
   local head = { "layer", "state", "lr", "batch norm", "parameters", "output", "weights from" }
   if cut then
      head[8] = "cache"
   else
      for _, row in ipairs(rows) do
         row[8] = nil
      end
   end
   return (several and ("<h3>%s</h3>"):format(escape(name_of(chapter))) or "") .. page.facts {
      { "training", chapter.loop and "a loop of the recipe's own, " .. format.plural(chapter.steps, "step")
         or ("%s of %s, %s at a time"):format(format.plural(chapter.wanted, "epoch"), format.plural(chapter.steps, "step"),
            format.plural(chapter.batch_size, "photo")) },
      { "optimizer", chapter.optimizer }, { "schedule", chapter.schedule },
      { "augmentation", chapter.augment }, { "clipping", chapter.clip and format.rate(chapter.clip) },
      { "frozen part", chapter.prefix ~= "float32" and "its convolutions in " .. format.precision(chapter.prefix) },
      { "trained", format.share(chapter.trained, chapter.parameters) .. " parameters" },
   } .. page.table { head = head, align = "llrlrll", rows = rows }
      .. (cut and page.paragraph("↓: computed once for each photo and kept, since nothing in it changes.", "faint") or "")
end

function phases.plan(all)
   local html = { page.paragraph(FROZEN) }
   for _, chapter in ipairs(all) do
      html[#html + 1] = plan_of(chapter, #all > 1)
   end
   return { id = "plan", title = "What was trained", html = table.concat(html, "\n") }
end

-- ---- curves ----

-- The points of a column, over the epochs of all phases; nil where no epoch has it. `transform` gives {y, low, high}.
local function series_of(all, column, transform)
   local points, any, at = {}, false, 0
   for _, chapter in ipairs(all) do
      for _, row in ipairs(chapter.rows) do
         local value = tonumber(row[column])
         any = any or value ~= nil
         at = at + 1
         points[#points + 1] = value ~= nil and transform and { at, transform(value, chapter) } or { at, value }
      end
   end
   return any and points or nil
end

local function marks_of(all)
   local marks, at = {}, 0
   for i, chapter in ipairs(all) do
      if #all > 1 then
         marks[#marks + 1] = { x = at + (i == 1 and 1 or 0.5), label = name_of(chapter) }
      end
      if i == #all and chapter.kept == "best" and chapter.best and #chapter.rows > 1 then
         marks[#marks + 1] = { x = at + chapter.best, label = "kept" }
      end
      at = at + #chapter.rows
   end
   return marks
end

local function with_interval(value, chapter)
   if chapter.multilabel or not chapter.val or chapter.val == 0 then
      return value
   end
   local low, high = format.interval(math.floor(value * chapter.val + 0.5), chapter.val)
   return value, low, high
end

-- Columns "val_accuracy:LAYER", in the order in which they came.
local function head_columns(all)
   local names, known = {}, {}
   for _, chapter in ipairs(all) do
      for _, row in ipairs(chapter.rows) do
         local fresh = {}
         for key in pairs(row) do
            if type(key) == "string" and key:find("^val_accuracy:") and not known[key] then
               fresh[#fresh + 1], known[key] = key, true
            end
         end
         table.sort(fresh)
         table.move(fresh, 1, #fresh, #names + 1, names)
      end
   end
   return names
end

local function varies(points)
   for _, point in ipairs(points) do
      if point[2] ~= points[1][2] then
         return true
      end
   end
   return false
end

function phases.curves(all)
   local x, marks, charts = { label = #all > 1 and "epoch, of all phases" or "epoch" }, marks_of(all), {}
   local function add(series, name, points, dashed)
      if points then
         series[#series + 1] = { name = name, points = points, dashed = dashed }
      end
   end
   local loss, accuracy, scores, rate = {}, {}, {}, {}
   add(loss, "photos to train on", series_of(all, "train_loss"), true)
   add(loss, "held-out photos", series_of(all, "val_loss"), false)
   charts[1] = { title = "Loss", x = x, y = { label = "mean loss, less is better" }, series = loss, marks = marks }
   add(accuracy, "main classifier", series_of(all, "val_accuracy", with_interval))
   for _, column in ipairs(head_columns(all)) do
      add(accuracy, "classifier at " .. column:match(":(.*)$"), series_of(all, column))
   end
   if #accuracy > 0 then
      charts[#charts + 1] = { title = "Accuracy on held-out photos", x = x, y = { percent = true, label = all[#all].multilabel
         and "labels that are right" or "photos that are right" .. (#accuracy == 1 and all[#all].val and ", with 95 % "
            .. "interval" or "") },
         series = accuracy, marks = marks }
   end
   add(scores, "mean average precision", series_of(all, "val_map"))
   add(scores, "mean F1", series_of(all, "val_f1"))
   if #scores > 0 then
      charts[#charts + 1] = { title = "Ranking of labels", x = x, y = { label = "of 1" }, series = scores, marks = marks }
   end
   local rates = series_of(all, "lr")
   add(rate, "", rates)
   if rates and varies(rates) then
      charts[#charts + 1] = { title = "Learning rate", x = x, y = { label = "lr, of layers at ×1", min = 0 }, series = rate,
         marks = marks }
   end
   for i, chart in ipairs(charts) do
      charts[i] = plot.svg(chart)
   end
   return { id = "curves", title = "How it learnt", html = page.paragraph("Loss is what training makes smaller. Where it "
      .. "still falls for the photos to train on and rises for those held out, the network begins to learn photos by heart.")
      .. '<div class="grid">' .. table.concat(charts, "\n") .. "</div>" }
end

-- ---- what it cost ----

function phases.spent(all)
   local rows, seconds, memory = {}, 0, 0
   for i, chapter in ipairs(all) do
      local epochs = 0
      for _, row in ipairs(chapter.rows) do
         epochs = epochs + (tonumber(row.seconds) or 0)
      end
      seconds, memory = seconds + chapter.seconds, math.max(memory, chapter.peak_memory)
      local once = chapter.seconds - epochs
      rows[i] = { name_of(chapter), ("%d of %d"):format(chapter.done, chapter.wanted), format.seconds(chapter.seconds),
         once > 0.005 and chapter.cache.bytes > 0 and format.seconds(once) or "-",
         format.seconds((chapter.loop and chapter.seconds or epochs) / math.max(1, #chapter.rows)),
         format.bytes(chapter.peak_memory), chapter.cache.bytes > 0 and ("%s in %s"):format(format.bytes(chapter.cache.bytes),
            chapter.cache.where == "file" and "a file" or "memory") or "-" }
   end
   local html = page.table { align = "lrrrrrr", rows = rows,
      head = { "phase", "epochs", "time", "frozen part", "an epoch", "memory", "cache" } }
   if #all > 1 then
      html = html .. page.paragraph(("Together %s, at most %s."):format(format.seconds(seconds), format.bytes(memory)))
   end
   for _, chapter in ipairs(all) do
      if chapter.saved then
         html = html .. page.paragraph((#all > 1 and name_of(chapter) .. ": " or "") .. chapter.saved:gsub("^the", "The")
            .. ". Since frozen layers never change, what they make of a photo was computed once and kept.")
      end
   end
   local last = all[#all]
   local process = last.process_memory and ("; the whole process held %s at most"):format(format.bytes(last.process_memory))
   return { id = "spent", title = "Time and memory", html = html .. page.paragraph(
      ("Memory is the most that Graft had allocated at a time%s."):format(process or ""), "faint") }
end

-- ---- making it again ----

-- A word as a shell reads it as one.
function phases.quoted(word)
   return word:find("^[%w%-_./=:,+@%%]+$") and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The command line that made the run, without what belongs to that one time: its folder, and going on with it.
local function command_line()
   local words, skip = { "graft" }, false
   for _, word in ipairs(context.words or {}) do
      if skip then
         skip = false
      elseif word == "--out" then
         skip = true
      elseif word ~= "--resume" and not word:find("^%-%-out=") then
         words[#words + 1] = phases.quoted(word)
      end
   end
   return table.concat(words, " ")
end

local function data_facts(lock)
   local facts = {}
   for _, entry in ipairs(lock.data) do
      facts[#facts + 1] = { "data", ("%s: %s to train on, %s held out; sha256 %s"):format(entry.name, format.count(entry.train),
         format.count(entry.val), entry.sha256) }
   end
   for _, entry in ipairs(lock.weights) do
      facts[#facts + 1] = { "weights", ("%s; sha256 %s"):format(entry.file, entry.sha256) }
   end
   return facts
end

local function known(value)
   return value ~= core.null and value or nil
end

function phases.again(out, chapter)
   local lock = require("graft.lock").now(chapter.digest)
   local html = {}
   if context.mode == "run" then
      html[1] = page.paragraph "The same command again, from the same folder, gives the same bits on the same type of machine:"
         .. ("<pre>%s</pre>"):format(escape(command_line()))
         .. page.paragraph "This replays the run and compares what comes out, digest by digest:"
         .. ("<pre>graft verify %s</pre>"):format(escape(phases.quoted(out)))
   else
      html[1] = page.paragraph("This run was not made by a recipe but at the prompt or by another program, so there is no "
         .. "command that repeats it.")
   end
   local facts = { { "seed", ("%d"):format(chapter.seed) }, { "threads", ("%d"):format(chapter.threads) },
      { "recipe", known(lock.recipe) and ("%s; sha256 %s"):format(known(lock.name) or "-", lock.recipe) } }
   for _, fact in ipairs(data_facts(lock)) do
      facts[#facts + 1] = fact
   end
   for _, fact in ipairs {
      { "network", "sha256 " .. chapter.digest },
      { "frozen", chapter.frozen_digest and chapter.frozen_tensors > 0 and ("%s, sha256 %s before and "
         .. "after"):format(format.plural(chapter.frozen_tensors,
         "tensor"), chapter.frozen_digest) or false },
      { "Graft", ("%s%s"):format(core.version, known(lock.build) and ", build " .. lock.build or "") },
      { "machine", ("%s kernels, BLAS %s, JPEG by %s"):format(core.cpu, lock.blas, core.jpeg) },
   } do
      facts[#facts + 1] = fact
   end
   html[2] = "<h3>The lock</h3>" .. page.paragraph("What the result depends on. recipe.lock in the run folder holds it for "
      .. "graft run --locked and graft verify.") .. page.facts(facts)
   return { id = "again", title = "Making it again", html = table.concat(html, "\n") }
end

return phases
