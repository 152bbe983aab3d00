-- What fit returns, and how it reads when printed.

local core = require "graft.core"
local context = require "graft.context"
local strict = require "graft.strict"
local format = require "graft.format"

local run = {}

local optional = { "name", "best", "last", "kept", "out", "evaluation", "monitor", "process_memory", "float32", "stashed",
   "together", "page" }

-- Shares of validation photos that are right, as "0.950 ... (57 of 60; 95 % interval 0.86-0.98)".
local function accuracy_line(self)
   local best, evaluation = self.best, self.evaluation
   if not evaluation then
      return "accuracy", best and best.val_accuracy and ("%.3f on photos it never trained on"):format(best.val_accuracy)
         or self.stopped == "interrupt" and "not measured" or "not measured: there is no validation set"
   end
   local count, right = evaluation.count, evaluation.right
   if evaluation.map then
      return "accuracy", ("%.3f of all labels right, mAP %.3f (%s it never trained on)"):format(evaluation.accuracy,
         evaluation.map, format.plural(count, "photo"))
   end
   local low, high = format.interval(right, count)
   local most, name = 0, nil
   for _, class in ipairs(evaluation.classes) do
      if class.support > most then
         most, name = class.support, class.name
      end
   end
   return "accuracy", ("%.3f on photos it never trained on (%d of %d; 95 %% interval %.2f-%.2f)%s"):format(
      best and best.val_accuracy or evaluation.accuracy, right, count, low, high,
      name and ('; always saying "%s": %.2f'):format(name, most / count) or "")
end

local function mistakes_line(evaluation)
   if not evaluation or evaluation.map then
      return nil
   end
   local pairs_of = {}
   for i, row in ipairs(evaluation.confusion) do
      for j, count in ipairs(row) do
         if i ~= j and count > 0 then
            pairs_of[#pairs_of + 1] = { count = count, order = #pairs_of,
               text = ("%s taken for %s %d"):format(evaluation.classes[i].name, evaluation.classes[j].name, count) }
         end
      end
   end
   table.sort(pairs_of, function(a, b)
      return a.count > b.count or (a.count == b.count and a.order < b.order)
   end)
   local words = {}
   for i = 1, math.min(3, #pairs_of) do
      words[i] = pairs_of[i].text
   end
   return #words > 0 and table.concat(words, ", ") or "none"
end

local function kept_line(self)
   if not self.out then
      return nil
   end
   local file = self.kept and self.out .. "/" .. self.kept .. ".safetensors" or "no weights: no epoch came to its end"
   if self.kept == "best" and self.best then
      file = ("%s (epoch %d of %d, chosen on those %s)"):format(file, self.best.epoch, self.epochs_wanted,
         self.evaluation and format.plural(self.evaluation.count, "photo") or "photos")
   end
   return self.page and ("%s    page: %s"):format(file, self.page) or file
end

local function short(digest)
   return digest:sub(1, 4) .. ".." .. digest:sub(-2)
end

-- In lines of at most `width` characters, or as long as they are. A command to type stays in one line, to be copied.
function run.text(self, width)
   local rows = {}
   local function add(label, text)
      if text then
         rows[#rows + 1] = { label, text }
      end
   end
   if self.stopped == "interrupt" then
      add("stopped", ("by %s in epoch %d of %d"):format(core.signal() == 24 and "the limit of time" or "you",
         self.epochs_done + 1, self.epochs_wanted))
   elseif self.stopped ~= "done" then
      add("stopped", ("after epoch %d of %d (%s)"):format(self.epochs_done, self.epochs_wanted, self.stopped))
   end
   add(accuracy_line(self))
   if self.prefix ~= "float32" then
      add("prefix", ("the frozen part in %s%s"):format(format.precision(self.prefix), self.float32
         and ("; accuracy with all in float32: %.3f (%d of %d)"):format(self.float32.accuracy, self.float32.right,
            self.float32.count) or ""))
   end
   add("mistakes", mistakes_line(self.evaluation))
   for _, head in ipairs(self.heads) do
      add("auxiliary", ("%s  accuracy %.3f, loss %.3f"):format(head.layer, head.accuracy, head.loss))
   end
   if self.frozen_tensors > 0 then
      add("frozen", ("%s exactly as before (sha256 %s before and after)"):format(
         format.plural(self.frozen_tensors, "tensor"), short(self.frozen_digest_after)))
   end
   if #self.skipped > 0 then
      add("skipped", ("%s; the first: %s (%s)"):format(format.plural(#self.skipped, "file"),
         core.printable(self.skipped[1].file), self.skipped[1].reason))
   end
   if self.exact then
      add("kernels", "exact ones only")
   end
   if self.stash ~= "none" then
      add("stash", (self.stashed == 0 and "activations stayed float32: to keep them as %s would have saved no memory"
         or "activations were kept as %s for the backward pass"):format(self.stash))
   end
   local saved = require("graft.feature_cache").saved(self.cache, self.epochs_done)
   add("spent", ("%s, %s%s%s"):format(format.seconds(self.seconds), format.bytes(self.peak_memory),
      self.process_memory and (" (the whole process %s)"):format(format.bytes(self.process_memory)) or "",
      saved and "; " .. saved or ""))
   if self.together then
      add("together", ("%s, %s in %s"):format(format.seconds(self.together.seconds),
         format.bytes(self.together.peak_memory), format.plural(self.together.fits, "fit")))
   end
   add("kept", kept_line(self))
   if self.out and self.stopped == "interrupt" and context.mode == "run" then
      add("next", ("the same command with --out %s --resume goes on"):format(self.out))
   elseif self.out and self.kept then
      add("next", ("graft predict %s/%s.safetensors PHOTO"):format(self.out, self.kept))
   end
   return format.labelled(rows, width, { next = true })
end

-- The keys of the JSON document, for the list "fits".
function run.json(self)
   local last = self.epochs[#self.epochs]
   return {
      name = self.name or core.null,
      epochs = self.epochs_done,
      seconds = self.seconds,
      cache = self.cache,
      exact = self.exact,
      stash = self.stash,
      prefix = self.prefix,
      float32 = self.float32 and { val_accuracy = self.float32.accuracy, val_loss = self.float32.loss } or core.null,
      best = self.best or core.null,
      last = last and { epoch = last.epoch, train_loss = last.train_loss, val_accuracy = last.val_accuracy,
         val_loss = last.val_loss } or core.null,
      frozen_digest_before = self.frozen_digest_before,
      frozen_digest_after = self.frozen_digest_after,
      stopped = self.stopped,
   }
end

-- Makes a run of its fields.
function run.new(fields)
   if fields.best then
      strict.table(fields.best, "run.best", { "val_f1", "val_map" })
   end
   if fields.last then
      strict.table(fields.last, "run.last", { "name", "val_accuracy", "val_loss", "val_f1", "val_map" })
   end
   setmetatable(fields, { __name = "graft.run", __tostring = function(self)
      return run.text(self, core.terminal "stdout")
   end })
   return strict.table(fields, "run", optional)
end

return run
