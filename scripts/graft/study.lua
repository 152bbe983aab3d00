-- graft.study: the same training in several variants, with the same effort for each, and an honest verdict.
--
-- Every combination of what `vary` lists is an arm. Each value of `tune` is tried on every arm with the first seed, and the
-- best one stays for the other seeds: no arm gets a better search than another. A trial is one call of the recipe's function;
-- its fits have a folder of their own while it runs, and afterwards its numbers alone are kept, in study.json.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local lock = require "graft.lock"
local progress = require "graft.progress"
local run_folder = require "graft.run_folder"
local strict = require "graft.strict"
local verdict = require "graft.study_verdict"

local study = {}

local WHO = "graft.study"
local FORMAT = 1
local MOST = 10000 -- trials: more is a slip
local keys = { vary = "table", seeds = "table", tune = "table", trial = "function", budget = "number", out = "string" }
local reserved = { seed = true, tuning = true, accuracy = true, loss = true, epochs_done = true, seconds = true, photos = true }

-- ---- what is asked ----

local function check_value(value, name)
   local kind = math.type(value) or type(value)
   if kind ~= "integer" and kind ~= "float" and kind ~= "string" and kind ~= "boolean" then
      core.error("option", ("%s: values of %s must be numbers, texts or booleans, got %s"):format(WHO, name, type(value)))
   end
end

local function check_axis(name, values, seen)
   if type(name) ~= "string" or type(values) ~= "table" or #values == 0 then
      core.error("option", WHO .. ': vary must list {NAME, {values}}, as in vary = { { "init", { "pretrained", "random" } } }')
   elseif reserved[name] or seen[name] then
      core.error("option", ("%s: %q is %s; choose another name"):format(WHO, name, seen[name] and "there twice"
         or "a name of every row"))
   end
   seen[name] = true
   local copy = {}
   for i, value in ipairs(values) do
      check_value(value, name)
      copy[i] = value
   end
   return { name = name, values = copy }
end

-- Axes of vary in their order, of tune in the order of their names.
local function axes_of(options)
   local vary, tune, seen = {}, {}, {}
   if type(options.vary) ~= "table" or #options.vary == 0 then
      core.error("option", WHO .. ': vary must list what differs, as in vary = { { "init", { "pretrained", "random" } } }')
   end
   for i, axis in ipairs(options.vary) do
      vary[i] = check_axis(type(axis) == "table" and axis[1], type(axis) == "table" and axis[2], seen)
   end
   for _, name in ipairs(strict.keys(options.tune or {})) do
      tune[#tune + 1] = check_axis(name, options.tune[name], seen)
   end
   return vary, tune
end

-- Every combination of the axes' values, the last axis fastest: lists of {name = value}.
local function combinations(axes)
   local all = { {} }
   for _, axis in ipairs(axes) do
      local longer = {}
      for _, start in ipairs(all) do
         for _, value in ipairs(axis.values) do
            local copy = { [axis.name] = value }
            for name, other in pairs(start) do
               copy[name] = other
            end
            longer[#longer + 1] = copy
         end
      end
      all = longer
   end
   return all
end

local function words(values, axes)
   local parts = {}
   for i, axis in ipairs(axes) do
      parts[i] = ("%s %s"):format(axis.name, lock.text(values[axis.name]))
   end
   return table.concat(parts, ", ")
end

-- What is studied: {vary=, tune=, arms=, tunings=, seeds=, trial=, budget=, total=, digest=}
function study.plan(options)
   options = strict.options(options, WHO, keys)
   if not options.trial then
      core.error("option", WHO .. ": trial = function(c) ... return run end is missing")
   end
   local job = { trial = options.trial, budget = options.budget, out = options.out, seeds = {} }
   job.vary, job.tune = axes_of(options)
   for i, seed in ipairs(options.seeds or { 1, 2, 3 }) do
      if math.type(seed) ~= "integer" then
         core.error("option", ("%s: seeds must be whole numbers, got %s"):format(WHO, tostring(seed)))
      end
      job.seeds[i] = seed
   end
   if #job.seeds == 0 then
      core.error("option", WHO .. ": seeds is empty")
   elseif job.budget and not (job.budget > 0) then
      core.error("option", ("%s: budget is a number of seconds above 0, got %s"):format(WHO, job.budget))
   end
   job.arms, job.tunings = combinations(job.vary), combinations(job.tune)
   job.total = #job.arms * (#job.tunings + #job.seeds - 1)
   if job.total > MOST then
      core.error("limit", ("%s: %s trials; at most %s"):format(WHO, format.count(job.total), format.count(MOST)))
   end
   local parts = { ("%d"):format(FORMAT), table.concat(job.seeds, ",") }
   for _, axes in ipairs { job.vary, job.tune } do
      for _, axis in ipairs(axes) do
         local values = {}
         for i, value in ipairs(axis.values) do
            values[i] = math.type(value) == "float" and ("%a"):format(value) or tostring(value)
         end
         parts[#parts + 1] = axis.name .. "=" .. table.concat(values, ",")
      end
      parts[#parts + 1] = "|"
   end
   job.digest = core.digest(table.concat(parts, ";"))
   return job
end

-- ---- what is kept ----

-- Reads the finished trials of a study that goes on: a list by number, empty where there is none.
local function read(path, job)
   if not core.stat(path) then
      return {}
   end
   local kept = require("graft.checkpoints").restore(core.parse_json(core.read(path)))
   if kept.digest ~= job.digest then
      core.error("option", ("%s: %s is of a study with other arms, rates or seeds; choose another folder"):format(WHO, path))
   end
   local done = {}
   for _, record in ipairs(kept.trials) do
      done[record.number] = record
   end
   return done
end

local function write(path, job, done)
   local trials = {}
   for number = 1, job.total do
      if done[number] then
         trials[#trials + 1] = done[number]
      end
   end
   core.write(path, core.json(require("graft.checkpoints").exact { digest = job.digest, trials = core.array(trials) }, 1) .. "\n")
end

local left_by_fits = { "%.safetensors$", "%.rows$", "%.part$", "^recipe%.lua$", "^recipe%.lock$", "^data.*%.sha256$",
   "^report%.txt$" }

-- Takes away what the fits of a finished trial leave: its numbers are in study.json, its epochs in metrics.csv. What the trial
-- itself wrote by graft.out stays.
local function clean(path)
   for _, name in ipairs(core.stat(path) and core.list(path) or {}) do
      local inner = path .. "/" .. name
      if core.stat(inner).kind == "folder" and name:find "^fit%-%d+$" then
         clean(inner)
         if #core.list(inner) == 0 then
            core.remove(inner)
         end
      end
      for _, pattern in ipairs(left_by_fits) do
         if name:find(pattern) and core.stat(inner) then
            core.remove(inner)
         end
      end
   end
end

-- ---- trials ----

-- Runs f with a run folder, fits and a seed of its own; everything is as before afterwards, whatever happens.
local function apart(path, seed, f)
   local before = { out = context.out, runs = context.runs, modes = context.modes, trial = context.trial,
      resumed = context.resumed, resume = context.resume, fit = core.fit(), seed = core.seed(), draws = core.draws() }
   local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      for _, name in ipairs { "out", "runs", "modes", "trial", "resumed", "resume" } do
         context[name] = before[name]
      end
      core.fit(before.fit)
      core.seed(before.seed)
      core.draws(before.draws)
   end })
   if not (context.resume and core.stat(path .. "/recipe.lock")) then -- one that had hardly begun begins again
      context.resume = false
      clean(path)
   end
   core.make_folder(path)
   context.out, context.runs, context.modes, context.trial, context.resumed = path, {}, {}, {}, nil
   core.fit(0)
   core.seed(seed)
   local run = f()
   return run, context.modes, context.trial.photos
end

local function is_run(value)
   local meta = getmetatable(value)
   return type(meta) == "table" and rawget(meta, "__name") == "graft.run"
end

-- The numbers of a trial.
local function record_of(job, number, values, seed, tuning, run, modes, photos)
   local what = ("the trial %s, seed %d"):format(words(values, job.vary), seed)
   if not is_run(run) then
      core.error("option", ("%s: trial must return what graft.fit gave; %s returned %s"):format(WHO, what, type(run)))
   elseif not run.best then
      core.error("data", ("%s: %s has no validation, so there is nothing to compare"):format(WHO, what))
   end
   local curve, seconds = {}, 0
   for i, row in ipairs(run.epochs) do
      seconds = seconds + row.seconds
      curve[i] = { row.val_accuracy, seconds }
   end
   local own = {}
   for _, axes in ipairs { job.vary, job.tune } do
      for _, axis in ipairs(axes) do
         own[axis.name] = values[axis.name]
      end
   end
   local kept = {}
   for i, mode in ipairs(modes) do
      kept[i] = { fit = mode.fit, exact = mode.exact, stash = mode.stash, prefix = mode.prefix, name = mode.name,
         epochs = mode.epochs, digest = mode.digest }
   end
   return { number = number, values = own, seed = seed, tuning = tuning, accuracy = run.best.val_accuracy,
      loss = run.best.val_loss, epochs = run.epochs_done, seconds = run.seconds, photos = photos, curve = curve, modes = kept }
end

-- What the seconds of the arm's own trials, or of all, lead one to expect; nil before the first.
local function expected(done, arm)
   local sum, n, all, count = 0, 0, 0, 0
   for _, record in pairs(done) do
      if record.arm == arm then
         sum, n = sum + record.wall, n + 1
      end
      all, count = all + record.wall, count + 1
   end
   return n > 0 and sum / n or count > 0 and all / count or nil
end

local function spent(done)
   local seconds = 0
   for _, record in pairs(done) do
      seconds = seconds + record.wall
   end
   return seconds
end

-- The number, in `done`, of each arm's best tuning: the first of equals.
local function best_tuning(job, done, arm)
   local best
   for tuning = 1, #job.tunings do
      local record = done[(tuning - 1) * #job.arms + arm]
      if record and (not best or record.accuracy > done[(best - 1) * #job.arms + arm].accuracy) then
         best = tuning
      end
   end
   return best
end

-- Trial `number`: all arms take turns, so that an early end is fair to them. Returns arm, tuning or nil, seed.
local function at(job, number)
   local arm, round = (number - 1) % #job.arms + 1, (number - 1) // #job.arms + 1
   if round <= #job.tunings then
      return arm, round, job.seeds[1]
   end
   return arm, nil, job.seeds[round - #job.tunings + 1]
end

local function run_trial(job, done, number, folder)
   local arm, tuning, seed = at(job, number)
   local chosen, values = job.tunings[tuning or best_tuning(job, done, arm)], { seed = seed }
   for _, source in ipairs { job.arms[arm], chosen } do
      for name, value in pairs(source) do
         values[name] = value
      end
   end
   progress.line(("trial %d of %d  %s%s, seed %d"):format(number, job.total, words(values, job.vary),
      #job.tune > 0 and ", " .. words(values, job.tune) or "", seed))
   local started = core.clock()
   local path = ("%s/trials/%d"):format(folder, number)
   local run, modes, photos = apart(path, seed, function()
      local c = {}
      for name, value in pairs(values) do
         c[name] = value
      end
      return job.trial(strict.table(c, "the trial's c"))
   end)
   if is_run(run) and run.stopped == "interrupt" then
      return nil
   end
   local record = record_of(job, number, values, seed, tuning ~= nil and #job.tunings > 1, run, modes, photos)
   record.arm, record.tuned, record.wall = arm, tuning or best_tuning(job, done, arm), core.clock() - started
   clean(path)
   return record
end

-- What the lock says of the study: the fits of all trials, in their order.
local function list_modes(job, done)
   local modes = {}
   for number = 1, job.total do
      for _, mode in ipairs(done[number] and done[number].modes or {}) do
         modes[#modes + 1] = mode
      end
   end
   return modes
end

-- Runs what is not there yet. Returns the finished trials by number, and how many are left.
local function run_all(job)
   local folder = run_folder.start(job.out)
   lock.write(folder)
   local path = folder .. "/study.json"
   local done = context.resume and read(path, job) or {}
   local before = #context.modes
   local left = 0
   for number = 1, job.total do
      if not done[number] and left == 0 then
         local needed = job.budget and expected(done, (at(job, number)))
         if needed and spent(done) + needed > job.budget then
            left = job.total - number + 1
            progress.line(("budget  %s of %s are spent; %s are left out"):format(format.seconds(spent(done)),
               format.seconds(job.budget), format.plural(left, "trial")))
            break
         end
         local record = run_trial(job, done, number, folder)
         if not record then
            left = job.total - number + 1
            break
         end
         done[number] = record
         write(path, job, done)
      end
   end
   local modes = list_modes(job, done)
   for i = 1, #modes do
      context.modes[before + i] = modes[i]
   end
   if #modes > 0 then
      lock.write(folder, modes[#modes].digest, context.mode ~= "run")
   end
   return done, left
end

-- ---- the result ----

-- Beyond what a study shows: study -> {job=, done=, groups=, left=}.
local details = setmetatable({}, { __mode = "k" })

function study.details(s)
   return details[s]
end

-- The axis whose two values are compared: the one with "pretrained" and "random", else the first that is not of numbers; the
-- axis of budgets: the only one of numbers, if any.
local function roles(vary)
   local compared, budget
   for _, axis in ipairs(vary) do
      local has, numbers = {}, true
      for _, value in ipairs(axis.values) do
         has[value], numbers = true, numbers and math.type(value) ~= nil
      end
      if has.pretrained and has.random then
         compared = axis
      elseif numbers and #axis.values > 1 then
         budget = budget == nil and axis or false
      end
   end
   for _, axis in ipairs(vary) do
      if not compared and axis ~= budget and #axis.values > 1 then
         compared = axis
      end
   end
   return compared, budget or nil
end

-- {budget=, accuracy={[seed]=}} of one value of the compared axis, with everything else as in `values`.
local function series(job, done, axis, value, budget, values)
   local list = {}
   local steps = { table.unpack(budget and budget.values or { false }) }
   table.sort(steps, function(a, b)
      return budget and a < b
   end)
   for _, step in ipairs(steps) do
      local entry = { budget = step or nil, accuracy = {}, records = {} }
      for number, record in pairs(done) do
         local same = record.values[axis.name] == value and (not budget or record.values[budget.name] == step)
         for name, other in pairs(values) do
            same = same and record.values[name] == other
         end
         if same and record.tuned == best_tuning(job, done, record.arm) then
            entry.accuracy[record.seed], entry.records[#entry.records + 1] = record.accuracy, { number, record }
         end
      end
      table.sort(entry.records, function(a, b)
         return a[1] < b[1]
      end)
      if #entry.records > 0 then
         list[#list + 1] = entry
      end
   end
   list.curve = #list > 0 and study.mean_curve(list[#list].records, 1) or {}
   return list
end

-- The mean over trials of each epoch's accuracy (1) or seconds (2), as far as all of them have that epoch.
function study.mean_curve(records, column)
   local curve, epoch = {}, 1
   while true do
      local sum = 0
      for _, entry in ipairs(records) do
         local point = entry[2].curve[epoch]
         if not point then
            return curve
         end
         sum = sum + point[column]
      end
      curve[epoch], epoch = sum / #records, epoch + 1
   end
end

-- The comparisons: one for each combination of what is neither compared nor a budget.
local function judge(job, done)
   local axis, budget = roles(job.vary)
   local others, groups = {}, {}
   for _, other in ipairs(job.vary) do
      if other ~= axis and other ~= budget then
         others[#others + 1] = other
      end
   end
   if not axis or #axis.values ~= 2 then
      return groups, others, axis, budget
   end
   local first, second = axis.values[1], axis.values[2]
   if second == "pretrained" and first == "random" then
      first, second = second, first
   end
   for _, values in ipairs(combinations(others)) do
      local a = series(job, done, axis, first, budget, values)
      local b = series(job, done, axis, second, budget, values)
      local word, why = verdict.judge(a, b, { tostring(first), tostring(second), budget = budget and budget.name })
      local where = words(values, others)
      groups[#groups + 1] = { values = values, a = a, b = b, verdict = word, where = where,
         why = (where ~= "" and where .. ": " or "") .. why, names = { tostring(first), tostring(second) } }
   end
   return groups, others, axis, budget
end

local function table_of(job, done)
   local head, align = {}, ""
   for _, axis in ipairs(job.vary) do
      head[#head + 1], align = axis.name, align .. (math.type(axis.values[1]) and "r" or "l")
   end
   for _, axis in ipairs(job.tune) do
      head[#head + 1], align = axis.name, align .. "r"
   end
   for _, name in ipairs { "seeds", "accuracy", "+-", "time" } do
      head[#head + 1], align = name, align .. "r"
   end
   local rows = { head }
   for arm = 1, #job.arms do
      local tuned, accuracies, seconds = best_tuning(job, done, arm), {}, {}
      for number = 1, job.total do
         local record = done[number]
         if record and record.arm == arm and record.tuned == tuned then
            accuracies[#accuracies + 1], seconds[#seconds + 1] = record.accuracy, record.seconds
         end
      end
      local row = {}
      for _, axis in ipairs(job.vary) do
         row[#row + 1] = lock.text(job.arms[arm][axis.name])
      end
      for _, axis in ipairs(job.tune) do
         row[#row + 1] = tuned and lock.text(job.tunings[tuned][axis.name]) or "-"
      end
      row[#row + 1] = tostring(#accuracies)
      row[#row + 1] = #accuracies > 0 and ("%.3f"):format(verdict.mean(accuracies)) or "-"
      row[#row + 1] = #accuracies > 1 and ("%.3f"):format(verdict.deviation(accuracies)) or "-"
      row[#row + 1] = #seconds > 0 and format.seconds(verdict.mean(seconds)) or "-"
      rows[#rows + 1] = row
   end
   return rows, align
end
study.table_of = table_of

local function text(s)
   local d = details[s]
   local columns = math.min(core.terminal("stdout") or 100, 100)
   local rows, align = table_of(d.job, d.done)
   local lines = { format.columns(rows, align, "  "), "" }
   local function add(label, words_of)
      for i, line in ipairs(format.wrap(words_of, columns - 10)) do
         lines[#lines + 1] = ("%-10s%s"):format(i == 1 and label or "", line)
      end
   end
   add("verdict", s.verdict)
   for i, group in ipairs(d.groups) do
      add(i == 1 and "why" or "", group.why)
   end
   if #d.groups == 0 then
      add("why", s.why)
   elseif s.left > 0 then
      add("left", ("%s of %d did not run: the budget of time was spent, or the study was stopped"):format(
         format.plural(s.left, "trial"), d.job.total))
   end
   add("rule", verdict.rule)
   add("+-", "the standard deviation over the seeds; each value of what is tuned was tried once on every arm, with the first "
      .. "seed")
   return table.concat(lines, "\n")
end

local function make(job, done, left)
   local groups, others, axis, budget = judge(job, done)
   local verdicts, reasons = {}, {}
   for i, group in ipairs(groups) do
      verdicts[i], reasons[i] = group.verdict, group.why
   end
   local why = #reasons > 0 and table.concat(reasons, ". ") .. "."
      or "There are no two arms to compare: vary needs a name with two values."
   local rows = {}
   for number = 1, job.total do
      local record = done[number]
      if record then
         local row = { seed = record.seed, tuning = record.tuning, accuracy = record.accuracy, loss = record.loss,
            epochs_done = record.epochs, seconds = record.seconds, photos = record.photos }
         for name, value in pairs(record.values) do
            row[name] = value
         end
         rows[#rows + 1] = strict.table(row, "the row")
      end
   end
   local s = setmetatable({ rows = rows, why = why, left = left, seconds = spent(done),
      verdict = left > 0 and #groups > 0 and verdict.together { "not_converged" } or verdict.together(verdicts) },
      { __name = "graft.study", __tostring = text })
   details[s] = { job = job, done = done, groups = groups, others = others, axis = axis, budget = budget }
   return strict.table(s, "study")
end
study.make = make -- of finished trials by number: what the tests of the text use

-- While a recipe is planned: what one trial of each arm would do, and how long all of them.
local function plan_trials(job)
   local total = 0
   for arm = 1, #job.arms do
      local phases = #(context.phases or {})
      local c = { seed = job.seeds[1] }
      for _, source in ipairs { job.arms[arm], job.tunings[1] } do
         for name, value in pairs(source) do
            c[name] = value
         end
      end
      if not context.json then
         print(("%sarm %d of %d  %s"):format(arm > 1 and "\n" or "", arm, #job.arms, words(c, job.vary)))
      end
      job.trial(strict.table(c, "the trial's c"))
      for i = phases + 1, #(context.phases or {}) do
         total = total + (context.phases[i].seconds or 0) * (#job.tunings + #job.seeds - 1)
      end
   end
   if not context.json then
      print(("\nstudy     %s: %s, %s tried on each, %s; about %s%s"):format(format.plural(job.total, "trial"),
         format.plural(#job.arms, "arm"), format.plural(#job.tunings, "setting"), format.plural(#job.seeds, "seed"),
         format.seconds(total), job.budget and (", of a budget of %s"):format(format.seconds(job.budget)) or ""))
   end
   context.finish { planned = WHO }
end

-- graft.study{ vary=, seeds=, tune=, trial=, budget=, out= } -> study
function study.study(options)
   local job = study.plan(options)
   require("graft.recipe").check_options()
   if context.trial then
      core.error("option", WHO .. ": a trial cannot hold another study")
   elseif context.planning then
      plan_trials(job)
   end
   local done, left = run_all(job)
   local s = make(job, done, left)
   core.write(context.out .. "/report.txt", tostring(s) .. "\n")
   core.write(context.out .. "/report.html", require("graft.report").html(s))
   return s
end

return study
