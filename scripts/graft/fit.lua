-- graft.fit: epochs of training with validation, progress, checkpoints and the promise that frozen means untouched.

local core = require "graft.core"
local format = require "graft.format"
local lock = require "graft.lock"
local strict = require "graft.strict"
local chapters = require "graft.chapters"
local checkpoints = require "graft.checkpoints"
local context = require "graft.context"
local data = require "graft.data"
local network = require "graft.network"
local process = require "graft.process"
local progress = require "graft.progress"
local run_folder = require "graft.run_folder"
local trainer = require "graft.trainer"
local run = require "graft.run"
local feature_cache = require "graft.feature_cache"
local loop = require "graft.loop"
local prefix = require "graft.prefix"

local fit = {}

local keys = { epochs = "integer", batch_size = "integer", optimizer = "table", schedule = "table",
   augment = { "string", "table" }, keep = "string", cache = { "string", "table" }, out = "string", resume = "boolean",
   on_epoch = "function", loss = { "function", "table" }, val = { "table", "boolean" }, patience = "integer",
   clip = "number", name = "string", threads = "integer", bn = "string", monitor = "string", drop_last = "boolean",
   stash = "string", prefix = "string" }

local WHO = "graft.fit"
local MOST = 1000000 -- epochs, photos in a batch: more is a slip

local function choice(value, allowed, name, who)
   for _, word in ipairs(allowed) do
      if value == word then
         return
      end
   end
   core.error("option", ("%s: %s must be one of %s, got %s"):format(who, name, table.concat(allowed, ", "),
      tostring(value)), core.nearest(tostring(value), allowed))
end

-- Fills in what the user left out of `options`, a table of our own, and looks at what its values may be.
local function check_values(options, who)
   options.epochs = options.epochs or 20
   options.keep = options.keep or "best"
   options.monitor = options.monitor or "val_accuracy"
   choice(options.keep, { "best", "last" }, "keep", who)
   choice(options.monitor, { "val_accuracy", "val_loss", "val_f1", "val_map" }, "monitor", who)
   options.stash = trainer.stash(options, who)
   if options.bn then
      choice(options.bn, { "train", "fixed" }, "bn", who)
   end
   for _, name in ipairs { "epochs", "batch_size", "patience" } do
      if options[name] and (options[name] < 1 or options[name] > MOST) then
         core.error("option", ("%s: %s must be %s, got %d"):format(who, name, options[name] < 1 and "at least 1"
            or "at most " .. format.count(MOST), options[name]))
      end
   end
   if not options.optimizer then
      options.optimizer = require("graft.descriptions").optimizer.sgd { lr = 0.01, momentum = 0.9 }
      options.default_optimizer = true
   end
   return options
end

-- C17: classes are matched by name. Returns the data, listed in the network's order if that differs. `advice`: what to do where
-- they do not match.
function fit.match_classes(net, d, who, advice)
   local own, given = net.classes, d.classes
   local has = {}
   for _, name in ipairs(own) do
      has[name] = true
   end
   local missing
   for _, name in ipairs(given) do
      if not has[name] then
         missing = missing or name
      end
   end
   if #own ~= #given or missing then
      core.error("name", ("%s: the network tells %d classes apart and the data has %d (%s); %s"):format(who, #own, #given,
         missing and ('"%s" is not among the network\'s'):format(missing) or "some of the network's are not in the data",
         advice or "first\n   net:replace_head(data)"))
   end
   for i, name in ipairs(own) do
      if given[i] ~= name then
         return data.reordered(d, own)
      end
   end
   return d
end

-- What this fit is about to do; also what graft plan prints. `who`: the function that fits, if it is another one.
function fit.prepare(net, d, options, who)
   who = who or WHO
   network.handle(net, who)
   if not data.is(d) then
      core.error("option", ("%s: expected a data set (graft.data.folder), got %s"):format(who, type(d)))
   end
   options = check_values(strict.options(options, who, keys), who)
   local cache_option = feature_cache.option(options.cache, who)
   d = fit.match_classes(net, d, who)
   local train = d.train
   local val = d.val
   if options.val == false then
      val = nil
   elseif data.is_set(options.val) then
      val = options.val
   elseif options.val ~= nil and options.val ~= true then
      core.error("option", who .. ": val must be a set such as data.test, or false")
   end
   if val and #val == 0 then
      val = nil
   end
   if #train == 0 then
      core.error("data", who .. ": there is no photo to train on")
   end
   if options.batch_size and options.batch_size > #train then
      core.error("option", ("%s: batch_size %d is more than the %d photos to train on"):format(who, options.batch_size,
         #train))
   end
   local batch_size = math.min(options.batch_size or 32, #train)
   local steps = (options.drop_last and #train // batch_size or math.ceil(#train / batch_size))
   local handle = network.handle(net, who)
   if handle:parameters(true) == 0 then
      core.error("option", who .. ": every layer is frozen, so there is nothing to train; net:unfreeze(\"head\")?")
   end
   options.prefix = prefix.option(options.prefix, handle, who)
   return { who = who, net = net, handle = handle, data = d, train = train, val = val, options = options,
      cache_option = cache_option, batch_size = batch_size, steps_per_epoch = steps, steps = steps * options.epochs }
end

-- The digest of what must not change between an interrupted run and its resumption.
local function options_digest(job)
   local o = job.options
   local text = { tostring(o.optimizer), tostring(o.schedule or "constant"), tostring(o.epochs), tostring(job.batch_size),
      tostring(o.clip), o.keep, o.monitor, tostring(#job.train), tostring(core.seed()),
      core.json(data.augment(o.augment, WHO)), feature_cache.name(job.cache_option),
      data.handle(job.data, WHO):digest() }
   for _, row in ipairs(job.handle:layers()) do
      if row.parameters > 0 and not row.frozen then
         text[#text + 1] = ("%s %.9g %s"):format(row.name, row.lr_scale, tostring(row.fixed_norm))
      end
   end
   if o.stash ~= "none" then
      text[#text + 1] = "stash " .. o.stash
   end
   if job.handle:exact() then
      text[#text + 1] = "exact"
   end
   if o.prefix ~= "float32" then
      text[#text + 1] = "prefix " .. o.prefix
   end
   return core.digest(table.concat(text, "|"))
end

-- What departs from plain float32 arithmetic by the kernels of the cost model's choice.
local function modes(job)
   return { fit = core.fit(), exact = job.handle:exact(), stash = job.options.stash, prefix = job.options.prefix }
end

-- What `last` says of this fit, beside the tensors.
local function record_of(job, state)
   return {
      ["graft.ordinal"] = core.fit(),
      ["graft.fit"] = core.json(checkpoints.exact {
         epoch = state.epoch, done = state.stopped, rows = state.rows, best = state.best, digest = options_digest(job),
         seconds = state.seconds, worse = state.worse, frozen = state.frozen_before, draws = core.draws(),
      }),
   }
end

-- Writing takes about a twentieth of the time at most: of epochs that are shorter than that, the checkpoints wait in
-- memory until it is time, or until the fit ends in whatever way but by a kill.
local SAVE_SHARE = 20

local function forget_held(state, name)
   if state.held[name] then
      state.held[name]:close()
      state.held[name] = nil
   end
end

-- Writes what waits.
local function flush(state, folder)
   for _, name in ipairs { "best", "last" } do
      if state.held[name] then
         state.held[name]:write(("%s/%s.safetensors"):format(folder, name))
         forget_held(state, name)
      end
   end
end

-- The end of an epoch: `best` when it is, and `last`, now or later.
local function checkpoint(job, state, folder, improved)
   local started = core.clock()
   forget_held(state, "last")
   if improved then
      forget_held(state, "best")
   end
   if state.stopped or started >= state.next_save then
      if improved then
         core.save_model(job.handle, folder .. "/best.safetensors", { aux = true })
      end
      flush(state, folder)
      job.trainer:save(folder .. "/last.safetensors", record_of(job, state))
      state.next_save = core.clock() + SAVE_SHARE * (core.clock() - started)
      return
   end
   if improved then
      state.held.best = core.hold_model(job.handle)
   end
   state.held.last = job.trainer:hold(record_of(job, state))
end

local function mismatch(message)
   local _, failure = pcall(core.error, "option", message)
   failure.exit = 3
   context.finish(failure)
end

-- Where an interrupted run stands for this fit: nil, or its saved state and the folder of its files.
local function find_state(job, folder)
   local path, record = checkpoints.find(folder, core.fit())
   local text = record and record["graft.fit"]
   if not text then
      return nil
   end
   local saved = checkpoints.restore(core.parse_json(text))
   if saved.digest ~= options_digest(job) then
      mismatch(("%s: fit %d of %s was made with other options, data or seed; it cannot be resumed with these")
         :format(WHO, core.fit(), folder))
   end
   return saved, path
end

local function restore(job, saved, path, state)
   state.epoch, state.rows, state.best = saved.epoch, saved.rows, saved.best
   state.stopped, state.seconds, state.worse = saved.done, saved.seconds, saved.worse
   state.frozen_before = saved.frozen
   job.trainer:restore(path .. "/last.safetensors")
   core.draws(saved.draws)
   progress.line(("resumed fit %d after epoch %d of %d"):format(core.fit(), state.epoch, job.options.epochs))
end

local function better(job, row, best)
   local monitor = job.options.monitor
   local now = row[monitor]
   if now == nil then
      return false
   elseif not best then
      return true
   end
   if monitor == "val_loss" then
      return now < best[monitor]
   end
   return now > best[monitor]
end

-- One step: its loss, and those of the auxiliary classifiers by layer. Where the numbers ran away, the error names the photos.
local function step(job, b)
   local ok, loss, heads = pcall(loop.step, job, b)
   if ok then
      return loss, heads
   elseif core.is_error(loss) and loss.kind == "number" then
      local files = b:files()
      loss.message = ("%s\nphotos of that step: %s%s"):format(loss.message,
         core.printable(table.concat(files, ", ", 1, math.min(#files, 4))),
         #files > 4 and (" and %d more"):format(#files - 4) or "")
   end
   error(loss, 0)
end

-- One epoch over the training set: the mean loss and the auxiliary ones.
local function train_epoch(job, epoch, last_row)
   local bar, sum, count, heads = job.bar, 0, 0, {}
   local seen = last_row and last_row.val_accuracy and ("val %.3f  "):format(last_row.val_accuracy) or ""
   for _, _, b in loop.batches(job, epoch) do
      local n = b:count()
      job.cache.hits = job.cache.hits + (job.cache.train and n or 0)
      local loss, others = step(job, b)
      sum, count = sum + loss * n, count + n
      for layer, value in next, others or {} do
         heads[layer] = (heads[layer] or 0) + value * n
      end
      bar:step(n, ("loss %.3f  %slr %s  %.0f photos/s"):format(sum / count, seen, format.even_rate(job.trainer:lr()),
         bar:rate()))
   end
   for layer, value in next, heads do
      heads[layer] = value / count
   end
   return sum / math.max(count, 1), heads
end

-- `photos`: what is said of each photo as well.
local function validate(job, photos)
   if not job.val then
      return nil
   end
   local features = job.cache.val and job.features or nil
   job.cache.hits = job.cache.hits + (features and #job.val or 0)
   if not features and job.trainer then
      job.trainer:rest() -- the memory of its activations is that of the validation now
   end
   return trainer.result(job.handle, data.handle(job.val, WHO), { batch_size = job.batch_size, loss = job.fields.loss,
      photos = photos or false, features = features, prefix = job.options.prefix, remembered = job.cache_option.mode ~= "none" })
end

-- The same with everything in float32, as the saved model runs later. nil where that is no news.
local function validate_in_float32(job, state)
   if not job.val or job.options.prefix == "float32" or state.stopped == "interrupt" then
      return nil
   end
   local result = trainer.result(job.handle, data.handle(job.val, WHO), { batch_size = job.batch_size,
      loss = job.fields.loss, remembered = job.cache_option.mode ~= "none" })
   return strict.table({ accuracy = result.accuracy, loss = result.loss, right = result.right, count = result.count },
      "run.float32")
end

local function run_callback(job, row)
   local version = job.handle:version()
   local answer = job.options.on_epoch(strict.table(row, "the row", { "val_loss", "val_accuracy", "val_f1", "val_map" }))
   if job.handle:version() ~= version then
      core.error("option", WHO .. ": on_epoch changed the network; to train it otherwise, start another fit")
   end
   if answer ~= nil and answer ~= "stop" then
      core.error("option", WHO .. ': on_epoch may return "stop" or nothing, got ' .. tostring(answer))
   end
   return answer == "stop"
end

-- The best epoch's values of what is trained, in memory where that is little beside the network: then they need not be
-- read from the file again, which takes as much memory as the network once more for a moment.
local SMALL = 4 -- the fewest times that the network is larger

local function remember_best(job)
   if job.kept then
      job.kept:close()
      job.kept = nil
   end
   if job.handle:parameters(true) * SMALL <= job.handle:parameters() then
      job.kept = core.snapshot(job.handle, true)
   end
end

local function one_epoch(job, state, folder)
   local started = core.clock()
   local epoch, wanted = state.epoch + 1, job.options.epochs
   job.bar.label = ("%sepoch %" .. #tostring(wanted) .. "d/%d"):format(job.options.name and job.options.name .. "  " or "",
      epoch, wanted)
   local lr = job.trainer:lr()
   local loss, heads = train_epoch(job, epoch, state.rows[#state.rows])
   local trained = core.clock()
   local result = validate(job)
   state.val_seconds = core.clock() - trained
   local row = { fit = core.fit(), name = job.options.name, epoch = epoch, train_loss = loss, lr = lr,
      seconds = core.clock() - started }
   for layer, value in next, heads do
      row["train_loss:" .. layer] = value
   end
   if result then
      row.val_loss, row.val_accuracy = result.loss, result.accuracy
      row.val_f1, row.val_map = result.f1, result.map
      for _, head in ipairs(result.heads or {}) do
         if head.layer ~= "head" then
            row["val_accuracy:" .. head.layer] = head.accuracy
            row["val_loss:" .. head.layer] = head.loss
         end
      end
   end
   state.epoch, state.seconds = epoch, state.seconds + row.seconds
   state.rows[#state.rows + 1] = row
   local improved = better(job, row, state.best)
   state.worse = improved and 0 or state.worse + 1
   if improved then
      state.best = { epoch = epoch, val_accuracy = row.val_accuracy, val_loss = row.val_loss, val_f1 = row.val_f1,
         val_map = row.val_map }
      state.best_result = result
      remember_best(job)
   end
   run_folder.append_metrics(folder, row)
   state.text = trainer.row_text(row, wanted, improved)
   job.bar:line(state.text)
   if job.options.on_epoch and run_callback(job, row) then
      state.stopped = "on_epoch"
   elseif job.options.patience and state.worse >= job.options.patience then
      state.stopped = "patience"
   elseif epoch == wanted then
      state.stopped = "done"
   end
   checkpoint(job, state, folder, improved)
end

-- The network holds the best epoch's values again; where its values first came from stays as it was.
-- A run that was stopped while its files moved has them in fit-N already.
local function load_kept(job, folder, files)
   if job.kept then
      job.kept:restore(job.handle)
      job.kept:close()
      job.kept = nil
      return
   end
   local moved = ("%s/fit-%d/best.safetensors"):format(folder, core.fit())
   local source
   for _, row in ipairs(job.handle:layers()) do
      source = source or row.source
   end
   local weights <close> = core.weights(core.stat(moved) and moved or files .. "/best.safetensors")
   weights:apply(job.handle, { allow_head = false, source = source })
end

local function check_frozen(job, state)
   local after, tensors = job.handle:digest(true)
   if after ~= state.frozen_before then
      core.error("number", ("%s: frozen tensors changed from sha256 %s to %s; this is a bug in Graft"):format(WHO,
         state.frozen_before, after))
   end
   return after, tensors
end

-- What this fit and those before it in the recipe took; nil for the first one.
local function together(seconds, peak_memory)
   local all = { fits = #context.runs + 1, seconds = seconds, peak_memory = peak_memory }
   for _, done in ipairs(context.runs) do
      all.seconds, all.peak_memory = all.seconds + done.seconds, math.max(all.peak_memory, done.peak_memory)
   end
   return context.mode == "run" and all.fits > 1 and all or nil
end

local MOMENT = 2 -- seconds that somebody who stops a training does not mind

local function make_run(job, state, folder, files)
   local kept = (job.options.keep == "best" and state.best) and "best" or state.epoch > 0 and "last" or nil
   if kept == "best" then
      load_kept(job, folder, files)
   end
   -- somebody who stops a training waits for no long measurement: that of the best epoch is there, but for its photos
   local evaluation
   if state.stopped ~= "interrupt" or (kept == "best" and (state.val_seconds or math.huge) < MOMENT) then
      evaluation = validate(job, true)
   elseif kept == "best" then
      evaluation = state.best_result
   end
   local photos = evaluation and evaluation.photos
   if photos then
      evaluation.photos = nil -- as many as there are; the page shows a few
   end
   local after, tensors = check_frozen(job, state)
   local heads = {}
   for _, head in ipairs(evaluation and evaluation.heads or {}) do
      if head.layer ~= "head" then
         heads[#heads + 1] = head
      end
   end
   local skipped = data.handle(job.data, WHO):skipped()
   local last = state.rows[#state.rows]
   return run.new {
      name = job.options.name, epochs = state.rows, epochs_done = state.epoch, epochs_wanted = job.options.epochs,
      exact = job.handle:exact(), stash = job.options.stash, stashed = state.stashed,
      seconds = state.seconds, best = state.best, last = last, stopped = state.stopped, kept = kept, out = folder,
      cache = { mode = job.cache.mode, layers = job.cache.layers, bytes = job.cache.bytes, hits = job.cache.hits,
         where = job.cache.bytes > 0 and job.cache.where or "nowhere" },
      prefix = job.options.prefix, float32 = validate_in_float32(job, state), heads = heads,
      evaluation = evaluation, skipped = skipped, monitor = job.options.monitor,
      frozen_digest_before = state.frozen_before, frozen_digest_after = after, frozen_tensors = tensors,
      digest = (job.handle:digest()), peak_memory = core.memory().peak, together = together(state.seconds, core.memory().peak),
      process_memory = process.peak(), seed = core.seed(), threads = core.threads(),
      state = {},
   }, photos
end

local function announce(job)
   if job.options.default_optimizer then
      progress.line("optimizer: none given, so " .. tostring(job.options.optimizer))
   end
   if job.options.prefix ~= "float32" then
      progress.line("frozen part  its convolutions in " .. format.precision(job.options.prefix))
   end
   if job.batch_size < 8 and job.options.bn ~= "fixed" then
      for _, row in ipairs(job.handle:layers()) do
         if row.norm and not row.frozen and not row.fixed_norm then
            context.note(("batch norm learns from batches of %d photos; with fewer than 8, bn = \"fixed\" is safer")
               :format(job.batch_size))
            break
         end
      end
   end
end

-- Ctrl-C where somebody types: the fit ends, the session goes on.
local function at_prompt()
   return context.interactive and core.signal() == 2
end

local function train(job, state, folder)
   job.bar = progress.bar("epoch", #job.train * job.options.epochs, #job.train * state.epoch)
   while not state.stopped do
      local ok, failure = pcall(one_epoch, job, state, folder)
      if not ok then
         local written, trouble = pcall(flush, state, folder)
         if not written then
            progress.line(tostring(trouble))
         end
         if core.is_error(failure) and failure.kind == "interrupt" then
            state.stopped = "interrupt"
            if at_prompt() then
               job.bar:finish((state.text or job.bar.label) .. "   ^C")
            else
               progress.line("stopped after the step; the last checkpoint is whole")
            end
            return failure
         end
         progress.clear()
         error(failure, 0)
      end
   end
   if state.text then
      job.bar:finish(state.text)
   end
end

-- Keeps what the frozen part makes of the photos; that is time of this fit. Returns the interrupt that ended it, where the
-- session goes on after it.
local function keep_features(job, state, folder)
   local started = core.clock()
   if state.stopped then
      job.cache = feature_cache.choose(job)
      return nil
   end
   local ok, failure = pcall(loop.keep, job, folder)
   state.seconds = state.seconds + core.clock() - started
   if ok then
      return nil
   elseif not (core.is_error(failure) and failure.kind == "interrupt" and at_prompt()) then
      error(failure, 0)
   end
   state.stopped = "interrupt"
   feature_cache.none(job.cache)
   progress.line("frozen part  not finished   ^C")
   return failure
end

-- Files of features are for this fit alone; one that was stopped leaves them to --resume.
local function clean_up(job, state, folder)
   if state.stopped ~= "interrupt" then
      feature_cache.clean(folder)
   elseif job.cache.bytes > 0 and job.cache.where == "file" then
      progress.line(("the kept output of the frozen part stays in %s for --resume (%s)"):format(folder,
         format.bytes(job.cache.bytes)))
   end
end

-- report.html, for all fits so far. A page that cannot be made is no reason for a training to fail.
local function write_page(job, state, result, photos)
   local path = result.out .. "/report.html"
   local ok, failure = pcall(function()
      chapters.add(job, state, result, photos)
      require("graft.report").write(result, path)
   end)
   if ok then
      result.page = path
   elseif core.is_error(failure) and failure.kind == "interrupt" then
      error(failure, 0)
   else
      progress.line("report.html was not written: " .. core.printable(tostring(failure)))
   end
end

-- graft.fit(net, data, options) -> run
function fit.fit(net, d, options)
   require("graft.recipe").check_options()
   local job = fit.prepare(net, d, options)
   core.fit(core.fit() + 1)
   if job.options.threads and not context.threads_are_fixed then -- the command line's --threads wins
      core.threads(job.options.threads)
   end
   announce(job)
   if context.planning then
      return require("graft.plan").phase(job)
   end
   core.reset_peak()
   context.modes[#context.modes + 1] = modes(job)
   local resuming = context.resume or job.options.resume
   local folder = run_folder.start(job.options.out, resuming)
   local state = { epoch = 0, rows = {}, worse = 0, seconds = 0, next_save = 0, held = {},
      frozen_before = (job.handle:digest(true)), sources = chapters.sources(job.handle) }
   loop.open(job, core.fit())
   local files = folder
   local saved, path
   if resuming then
      saved, path = find_state(job, folder)
   end
   if saved then
      restore(job, saved, path, state)
      files = path
   else
      checkpoints.retire(folder, core.fit())
   end
   lock.write(folder)
   if resuming then
      run_folder.trim_metrics(folder, core.fit(), state.epoch)
   end
   local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      loop.close(job) -- a fit that fails leaves the network free
   end })
   local interrupted = keep_features(job, state, folder) or train(job, state, folder)
   state.stashed = job.trainer:stashed()
   loop.close(job)
   clean_up(job, state, folder)
   if interrupted then
      core.hold_interrupt() -- what is left is quick; a second Ctrl-C ends the program at once
   end
   local result, photos = make_run(job, state, folder, files)
   context.runs[#context.runs + 1] = { run = result, document = core.json(run.json(result)), digest = result.digest,
      seconds = result.seconds, peak_memory = result.peak_memory }
   if context.trial then
      context.trial.photos = #job.train -- of a study, which has a page of its own
   else
      write_page(job, state, result, photos)
   end
   core.write(folder .. "/report.txt", run.text(result) .. "\n", true)
   run_folder.made(folder, job.options.name, state.epoch, result.digest, not interrupted)
   if interrupted and not at_prompt() then
      progress.line(tostring(result))
      context.told_resume = true
      error(interrupted, 0)
   elseif interrupted then
      core.clear_interrupt()
   end
   return result
end

-- graft.fine_tune(net, data, {epochs=}): the usual two phases. The new head alone first, then everything with the
-- pretrained layers at one tenth of the rate. The statistics of batch norms stay those of the pretraining: a few hundred
-- photos in small batches would replace them by worse ones; and gradients are clipped, since some pretrained networks scale
-- a layer's output a hundredfold. `prefix` is for the first phase: in the second one nothing is frozen.
local fine_keys = { epochs = "integer", batch_size = "integer", lr = "number", augment = { "string", "table" },
   out = "string", prefix = "string" }

-- What both phases take as fit does.
local shared = { "batch_size", "cache", "clip", "drop_last", "keep", "loss", "monitor", "on_epoch", "out", "patience", "resume",
   "stash", "threads", "val" }
for _, name in ipairs(shared) do
   fine_keys[name] = keys[name]
end

-- Options of one phase: the shared ones, and what the phase says itself, where the user says nothing.
local function phase(options, own)
   for _, name in ipairs(shared) do
      if options[name] ~= nil then
         own[name] = options[name]
      end
   end
   return own
end

function fit.fine_tune(net, d, options)
   local who = "graft.fine_tune"
   options = strict.options(options, who, fine_keys)
   local handle = network.handle(net, who)
   if not data.is(d) then
      core.error("option", who .. ": expected a data set (graft.data.folder), got " .. type(d))
   end
   check_values(phase(options, { epochs = options.epochs }), who) -- before anything is changed
   prefix.known(options.prefix, handle, who)
   local epochs = options.epochs or 12
   local lr = options.lr or 0.01
   local descriptions = require "graft.descriptions"
   if table.concat(net.classes, "\n") ~= table.concat(d.classes, "\n") then
      local ok = pcall(fit.match_classes, net, d, WHO)
      if not ok then
         net:replace_head(d)
      end
   end
   local sgd = descriptions.optimizer.sgd { lr = lr, momentum = 0.9, weight_decay = 1e-4 }
   net:freeze("body")
   local first = fit.fit(net, d, phase(options, { name = "head", epochs = math.max(1, epochs // 4), optimizer = sgd,
      prefix = options.prefix }))
   if not context.planning and first.stopped == "interrupt" then
      return first
   end
   net:unfreeze { "body", bn = "fixed" }:lr_scale { { "*", 1 / 10 }, { "head", 1 } }
   return fit.fit(net, d, phase(options, { name = "all", epochs = epochs, optimizer = sgd, clip = 1, -- nothing is frozen
      augment = options.augment or "none", schedule = descriptions.schedule.one_cycle { warmup = 0.3 } }))
end

return fit
