-- graft.advise: what to transfer, read from a probe: where a task stands in the table of little or much data against like or
-- unlike the pretraining (Yosinski and others, "How transferable are features in deep neural networks?", 2014; the table is
-- CS231n's), and what to do there. Every number that decides is shown, and where they do not decide, that is said.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local probe = require "graft.probe"
local recipe = require "graft.advised_recipe"

local advise = { signature = recipe.signature }

-- ---- what decides ----

-- Photos a class from which the whole network can be moved by photos alone. With fewer, there is still little data.
local MUCH = 300
-- Points that a doubling of the photos still gains: above, the classifier is short of photos.
local RISING = 0.01
-- How much of what the best probe knows the classes of the pretraining tell by themselves, as a part of what is above guessing:
-- from the first on the tasks are alike, up to the second they are not; between them the depth decides.
local ALIKE, UNLIKE = 0.7, 0.55
-- Photos for each old class that is named, below which it is no sign that the old classes tell little: there were too few to
-- learn from what each of them means.
local THIN = 4
-- Errors that a linear classifier leaves. Below, there is too little left to gain for anything but a new head.
local SOLVED = 0.03
-- Errors that a linear classifier may leave, by the end of its interval, above which the top of the network is worth training
-- even on few photos like those of the pretraining. Gently, after the head, that gained one to nine points where more might be
-- left, and less than one where not (tests/bench/advice_grid.lua).
local UNSOLVED = 0.15
-- Chance of so large a difference between two depths by luck alone, above which it is taken for luck.
local LUCK = 0.05
-- Half the width of the interval of the best accuracy, above which nothing can be told apart.
local BLURRED = 0.12
-- Photos a class, and accuracy of the best probe, for which training from nothing is worth what it costs.
local ENOUGH_FOR_SCRATCH, POOR = 2000, 0.6

-- ---- statistics ----

-- The exact test of McNemar (1947): the photos that one of two classifiers alone got right are heads and tails of a fair coin.
-- Returns the difference of the accuracies (a - b) and the chance of one so large by luck.
function advise.compare(a, b)
   local only_a, only_b = 0, 0
   for i = 1, #a do
      only_a = only_a + (a[i] > b[i] and 1 or 0)
      only_b = only_b + (b[i] > a[i] and 1 or 0)
   end
   local n, few = only_a + only_b, math.min(only_a, only_b)
   local term, sum = -n * math.log(2), 0 -- the logarithm of choose(n, k) / 2^n
   for k = 0, few do
      sum = sum + math.exp(term)
      term = term + math.log(n - k) - math.log(k + 1)
   end
   return (only_a - only_b) / #a, math.min(1, 2 * sum)
end

-- What the probe says, as the numbers that decide.
local function facts_of(p)
   local facts, place = { classes = #p.classes, photos = p.count }, {}
   local most = 0
   for _, class in ipairs(p.classes) do
      most = math.max(most, p.counts[class] or 0)
   end
   facts.per_class, facts.guessing = p.count / #p.classes, most / p.count
   for i, depth in ipairs(p.depths) do
      place[depth.layer] = i
   end
   local last = p.depths[#p.depths]
   facts.best, facts.last, facts.place, facts.count = p.depths[place[p.best]], last, place, #p.depths
   facts.behind, facts.behind_luck = advise.compare(p.outcomes[p.best], p.outcomes[last.layer])
   if #p.depths > 1 then
      local before = p.depths[#p.depths - 1]
      facts.before = before
      facts.rise, facts.rise_luck = advise.compare(p.outcomes[last.layer], p.outcomes[before.layer])
   end
   -- the lowest depth that is as good as the best, as far as these photos can tell
   for _, depth in ipairs(p.depths) do
      local worse, luck = advise.compare(p.outcomes[p.best], p.outcomes[depth.layer])
      if luck > LUCK or worse <= 0 then
         facts.enough = depth
         break
      end
   end
   local fraction = p.fractions[#p.fractions - 1]
   if fraction then
      local all = facts.best.accuracy
      facts.fraction, facts.fewer = fraction, p.accuracy[fraction][place[p.best]]
      facts.slope = (all - facts.fewer) / math.log(1 / fraction, 2)
   end
   if p.pretraining then
      facts.taught, facts.agreement, facts.spread = p.pretraining.classes, p.pretraining.agreement, p.pretraining.spread
      local known = facts.best.accuracy - facts.guessing
      facts.share = known > 0 and math.max(0, (facts.agreement - facts.guessing) / known) or nil
   end
   return facts
end

-- "similar" or "different", and whether the two signs say the same.
local function similarity_of(facts)
   local high = facts.count < 2 or facts.place[facts.enough.layer] > facts.count / 2
   local falls = facts.behind > 0 and facts.behind_luck <= LUCK and facts.place[facts.best.layer] < facts.count - 1
   local by_depth = (high and not falls) and "similar" or "different"
   if not facts.share or (facts.share < ALIKE and facts.share > UNLIKE) then
      return by_depth, nil
   end
   local by_classes = facts.share >= ALIKE and "similar" or "different"
   if by_classes == "different" and facts.photos < THIN * facts.spread then
      return by_depth, nil
   end
   return by_classes, by_classes == by_depth
end

local function data_of(facts)
   return facts.per_class >= MUCH and "much" or "little"
end

-- ---- what to do ----

-- The stage that training begins at: the top ones, from the last depth that still added something.
local function top_of(facts, p)
   local from = math.max(1, facts.count - 1)
   while from > 1 and facts.place[facts.enough.layer] < from and facts.count - from < facts.count // 2 do
      from = from - 1
   end
   return p.depths[from].layer
end

-- The action, the layer that it is about, and the sentence for a decision that is not plain.
local function choose(facts, data, similarity, p)
   local best = facts.best
   if best.low <= facts.guessing then
      return "unknown", nil, ("no depth does better than always saying the commonest class (%.2f)"):format(facts.guessing)
   elseif (best.high - best.low) / 2 > BLURRED then
      return "unknown", nil, ("with %s the accuracy is known to within %.0f points only, so depths cannot be told apart"):format(
         format.plural(p.count, "photo"), 50 * (best.high - best.low))
   elseif similarity == "different" and facts.per_class >= ENOUGH_FOR_SCRATCH and best.accuracy < POOR then
      return "scratch", nil, nil
   elseif data == "little" or 1 - best.accuracy <= SOLVED then
      local earlier = facts.behind > 0 and facts.behind_luck <= LUCK
      if similarity == "similar" and not earlier and 1 - best.low > UNSOLVED and facts.count > 1 then
         return "fine_tune", p.depths[facts.count - 1].layer, nil
      end
      return earlier and "cut" or "head", earlier and best.layer or nil, nil
   elseif similarity == "different" then
      return "fine_tune", p.network.stages[1], nil
   end
   return "fine_tune", top_of(facts, p), nil
end

-- "high", "medium" or "low", and why it is not high.
local function confidence_of(facts, action, agree)
   if action == "unknown" then
      return "low", nil
   elseif agree == false then
      return "low", "the depth that is enough and the classes of the pretraining say different things"
   elseif agree == nil and facts.behind_luck > LUCK and facts.rise_luck and facts.rise_luck > LUCK then
      return "medium", facts.before and ("%s and %s differ by less than the noise"):format(facts.before.layer, facts.last.layer)
   elseif (facts.best.high - facts.best.low) / 2 > BLURRED / 2 then
      return "medium", ("%s leave an interval of %.0f points"):format(format.plural(facts.photos, "photo"),
         100 * (facts.best.high - facts.best.low))
   end
   return "high", nil
end

-- ---- in words ----

local function points(share)
   local value = math.abs(100 * share)
   local text = value < 9.95 and ("%.1f"):format(value) or ("%.0f"):format(value)
   return text == "1.0" and "1 point" or (text:gsub("%.0$", "")) .. " points"
end

local function teacher_of(facts)
   return facts.taught == 1000 and "ImageNet" or "the pretraining"
end

local function depth_words(facts, similarity)
   local teacher = teacher_of(facts)
   if facts.best == facts.last then
      if not facts.before then
         return ("at %s a linear classifier is right on %.0f %% of the photos"):format(facts.last.layer,
            100 * facts.last.accuracy)
      elseif facts.rise_luck <= LUCK then
         return ("the last depth is best, %s above the one before: what %s taught fits your photos"):format(points(facts.rise),
            teacher)
      end
      return ("the last two depths, %s and %s, are equal as far as these photos can tell"):format(facts.before.layer,
         facts.last.layer)
   elseif facts.behind_luck <= LUCK then
      return ("the best depth is %s; from there to the last one accuracy falls by %s, photo by photo more than luck: %s"):format(
         facts.best.layer, points(facts.behind), similarity == "similar" and "the end serves the old classes alone"
         or ("what %s taught last is about other things than your photos"):format(teacher))
   end
   return ("the best depth is %s; the last one is behind it by %s, which may be luck"):format(facts.best.layer,
      points(facts.behind))
end

-- Why the action is not what the table's rule of thumb says, where it is not.
local function departure(facts, data, similarity, action)
   local wrong = 100 * (1 - facts.best.accuracy)
   local left = ("a linear classifier leaves " .. (wrong < 2 and "%.1f" or "%.0f") .. " %% of the photos wrong"):format(wrong)
   if action == "head" and data == "much" then
      return left .. ": too few for anything but a new head to be worth its time"
   elseif action == "fine_tune" and data == "little" then
      return ("a linear classifier may leave up to %.0f %% of the photos wrong (95 %% interval): enough to gain that the top of "
         .. "the network is trained too, gently, once the head stands"):format(100 * (1 - facts.best.low))
   elseif action == "head" and similarity == "different" then
      return "no earlier depth is better by more than luck, so the head stands where the network ends"
   elseif action == "cut" and data == "much" then
      return left .. " there: too few for training more than a head to be worth its time"
   elseif action == "cut" and similarity == "similar" then
      return "what comes after that depth would only take away from it"
   end
end

local function why_of(facts, data, similarity, action, note)
   local parts = {}
   local function add(part)
      if part then
         parts[#parts + 1] = part:sub(1, 1):upper() .. part:sub(2) .. "."
      end
   end
   if note then -- the depths cannot be told apart: what they seem to say is not repeated
      add(note)
      return parts
   end
   add(depth_words(facts, similarity))
   local lower = facts.place[facts.enough.layer] < facts.place[facts.best.layer]
   if lower and facts.enough ~= facts.before then
      add(("the depth %s already does as well, as far as these photos can tell"):format(facts.enough.layer))
   end
   if facts.agreement then
      add(("the %s classes that it was taught first tell yours apart in %.0f %% of the photos (guessing: %.0f %%)"):format(
         format.count(facts.taught), 100 * facts.agreement, 100 * facts.guessing))
   end
   if facts.slope then
      local gain = facts.best.accuracy - facts.fewer
      add(("from %.0f %% to 100 %% of the photos %s"):format(100 * facts.fraction, gain < 0.0005 and "gained nothing"
         or ("gained %s: %s"):format(points(gain), facts.slope > RISING and "more photos would still help"
         or "more photos alone would help little")))
   end
   add(departure(facts, data, similarity, action))
   return parts
end

-- ---- the advice ----

-- What an advice knows beyond what its fields show: advice -> table with facts, doubt, sentences, classes and stages as well.
local details = setmetatable({}, { __mode = "k" })

-- The keys of "advice" in `graft probe --json`.
function advise.json(self)
   return { data = self.data, similarity = self.similarity, action = self.action, from = self.from or core.null,
      why = self.why, confidence = self.confidence }
end

-- advice:recipe() -> the text of the recipe that is recommended
local methods = {}

function methods.recipe(self)
   return recipe.text(details[self])
end

-- advice:apply(net, data) -> the network, ready for a fit: head, freezing and rates as the advice says
function methods.apply(self, net, d)
   return recipe.apply(details[self], net, d)
end

local rows = { little = { similar = "train the head only", different = "classifiers at several depths" },
   much = { similar = "fine-tune the top", different = "fine-tune everything, or start from scratch" } }

local function table_text(self)
   local teacher = teacher_of(self.facts)
   local cells = { { "", "like " .. teacher, "unlike " .. teacher } }
   for _, data in ipairs { "little", "much" } do
      local row = { data == "little" and "little data" or "more data" }
      for _, similarity in ipairs { "similar", "different" } do
         local here = data == self.data and similarity == self.similarity
         row[#row + 1] = here and ("> %s <"):format(rows[data][similarity]) or ("  %s  "):format(rows[data][similarity])
      end
      cells[#cells + 1] = row
   end
   cells[1][2], cells[1][3] = "  " .. cells[1][2], "  " .. cells[1][3]
   return format.columns(cells, "lll", "  ")
end

-- A label and a text that is wrapped beside it.
local function labelled(label, text, columns)
   local lines = format.wrap(text, math.max(30, columns - 14))
   for i, line in ipairs(lines) do
      lines[i] = ("%-14s%s"):format(i == 1 and label or "", line)
   end
   return table.concat(lines, "\n")
end

-- What the command prints; `names` are those of files: {written=, data=, weights=}.
function advise.text(advice, names)
   local self = details[advice]
   names = names or {}
   local columns = math.min(core.terminal("stdout") or 100, 100)
   local doubt = self.doubt and self.confidence ~= "high" and ": " .. self.doubt or ""
   local lines = { table_text(self), "", labelled("You are here", ("%s data (%s a class), %s %s.  Confidence: %s%s."):format(
      self.data == "much" and "more" or "little", format.count(math.floor(self.facts.per_class + 0.5)),
      self.similarity == "similar" and "like" or "unlike", teacher_of(self.facts), self.confidence, doubt), columns) }
   for i, sentence in ipairs(self.sentences) do
      lines[#lines + 1] = labelled(i == 1 and "Why" or "", sentence, columns)
   end
   lines[#lines + 1] = labelled("Do", recipe.words(self) .. (names.written and ("  Written to %s."):format(names.written) or ""),
      columns)
   if names.written then
      lines[#lines + 1] = labelled("next", ("graft run %s --data %s --weights %s"):format(names.written, names.data or "DIR",
         names.weights or "FILE"), 1000)
   elseif names.data then
      lines[#lines + 1] = labelled("next", ("graft probe %s %s --write mine.lua   writes the recipe"):format(names.weights,
         names.data), 1000)
   end
   return table.concat(lines, "\n")
end

-- What the details of a probe come to: data, similarity, action, from, why, confidence; and facts, doubt, sentences.
function advise.decide(p)
   local facts = facts_of(p)
   local similarity, agree = similarity_of(facts)
   local data = data_of(facts)
   local action, from, note = choose(facts, data, similarity, p)
   local confidence, doubt = confidence_of(facts, action, agree)
   local sentences = why_of(facts, data, similarity, action, note)
   return { data = data, similarity = similarity, action = action, from = from, why = table.concat(sentences, " "),
      confidence = confidence, facts = facts, doubt = doubt, sentences = sentences, classes = p.classes,
      stages = p.network.stages }
end

local shown = { "data", "similarity", "action", "from", "why", "confidence" }

-- graft.advise(probe) -> advice
function advise.advise(p)
   local meta = getmetatable(p)
   if type(meta) ~= "table" or rawget(meta, "__name") ~= "graft.probe" then
      core.error("option", ("graft.advise: expected what graft.probe gave, got %s"):format(type(p)))
   end
   local decided = advise.decide(probe.details(p))
   local advice = setmetatable({}, { __name = "graft.advice", __tostring = advise.text })
   for _, key in ipairs(shown) do
      advice[key] = decided[key]
   end
   for name, method in pairs(methods) do
      advice[name] = method
   end
   details[advice] = decided
   return strict.table(advice, "advice", { "from" })
end

return advise
