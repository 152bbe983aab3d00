-- graft.probe: how well a linear classifier does on the frozen features of each depth of a network, on photos that it was
-- not fitted to, and with parts of the photos only. Nothing is trained in the network, and nothing changes.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local context = require "graft.context"
local data = require "graft.data"
local network = require "graft.network"
local progress = require "graft.progress"

local probe = {}

local WHO = "graft.probe"
local keys = { at = { "string", "table" }, folds = "integer", fractions = "table", pool = "string" }
local FOLDS, FRACTIONS = 5, { 0.1, 0.3, 1.0 }
local DEPTHS = 8 -- that are looked at unless `at` names them: more lines than these tell no more

-- ---- what is asked ----

-- "avg" | "max" | "avg+max" | "grid=K" as core.pooled takes it.
local function pooling(text)
   local grid = text:match "^grid=(%d+)$"
   if grid then
      return { pool = "grid", grid = math.tointeger(tonumber(grid)) }
   elseif text ~= "avg" and text ~= "max" and text ~= "avg+max" then
      local near = core.nearest(text, { "avg", "max", "avg+max", "grid=2" })
      core.error("option", ('%s: pool must be "avg", "max", "avg+max" or "grid=K", got "%s"'):format(WHO, text), near)
   end
   return { pool = text }
end

-- The stages without the stem; of many, as many as fit a table, evenly, the last one among them.
local function default_depths(handle)
   local stages, chosen = handle:stages(), {}
   if #stages == 0 then
      core.error("option", WHO .. ": this network names no stages; say at = { \"LAYER\", ... }")
   elseif #stages > 1 then
      table.remove(stages, 1)
   end
   for i = 1, math.min(#stages, DEPTHS) do
      chosen[i] = stages[#stages <= DEPTHS and i or math.floor(i * #stages / DEPTHS + 0.5)]
   end
   return chosen
end

-- The layers as they were named, and those that stand for them, from the photo to the output.
local function depths_of(handle, at)
   local names = at == nil and default_depths(handle) or type(at) == "string" and { at }
      or strict.list(at, "string", WHO .. ": at")
   if #names == 0 then
      core.error("option", WHO .. ": at names no layer")
   end
   local order, depths, seen = {}, {}, {}
   for i, row in ipairs(handle:layers()) do
      order[row.name] = i
   end
   for _, name in ipairs(names) do
      local layer = network.layer_end(handle, WHO, name)
      if not seen[layer] then
         seen[layer] = true
         depths[#depths + 1] = { name = name, layer = layer, place = order[layer] or 0 }
      end
   end
   table.sort(depths, function(a, b)
      return a.place < b.place
   end)
   return depths
end

local function fractions_of(list)
   local fractions = {}
   for i, fraction in ipairs(strict.list(list or FRACTIONS, "number", WHO .. ": fractions")) do
      if not (fraction > 0 and fraction <= 1) then
         core.error("option", ("%s: fractions must be above 0 and at most 1, got %s"):format(WHO, fraction))
      end
      fractions[i] = fraction
   end
   table.sort(fractions)
   if fractions[#fractions] ~= 1 then
      fractions[#fractions + 1] = 1.0 -- the depths are compared on all photos
   end
   for i = #fractions, 2, -1 do
      if fractions[i] == fractions[i - 1] then
         table.remove(fractions, i)
      end
   end
   return fractions
end

-- ---- features ----

-- Pooled features are remembered for what comes next: the same depths with other folds or fractions, or after a look at
-- something else. As much as one cache may take, the newest first.
local remembered = {}

-- What the features of these depths depend on; nil where a layer is the program's own, which has no digest.
local function key_of(handle, set, depths, pool)
   local standard = {}
   for _, kind in ipairs(core.kinds()) do
      standard[kind.name] = true
   end
   for _, row in ipairs(handle:layers()) do
      if not standard[row.kind] then
         return nil
      end
   end
   local parts = { handle:digest(), core.json(handle:describe()), set:digest(), tostring((set:dataset():size())), core.cpu,
      tostring(core.threads()), pool }
   for _, depth in ipairs(depths) do
      parts[#parts + 1] = depth.layer
   end
   return core.digest(table.concat(parts, "|"))
end

local function remember(key, found)
   if not key or core.memory().limit > 0 then
      return
   end
   table.insert(remembered, 1, { key = key, found = found })
   local bytes, share = 0, core.memory().share
   for i = 1, #remembered do
      for _, rows in ipairs(remembered[i] and remembered[i].found.rows or {}) do
         bytes = bytes + 4 * rows.shape[1] * rows.shape[2]
      end
      if bytes > share and i > 1 then
         remembered[i] = nil
      end
   end
end

local function find(key)
   for _, entry in ipairs(remembered) do
      if entry.key == key then
         return entry.found
      end
   end
end

-- {rows = {T [N,D] of each depth, then the network's own answers}, photos = {files=, classes=, labels=}}
local function features_of(handle, set, depths, pool)
   local layers = {}
   for i, depth in ipairs(depths) do
      layers[i] = depth.layer
   end
   layers[#layers + 1] = handle:output()
   local options = pooling(pool)
   local key = key_of(handle, set, depths, pool)
   local found = key and find(key)
   if found then
      return found
   end
   local bar = progress.bar("features", set:count())
   options.progress = function(done)
      bar:step(done - bar.done, ("%s/%s photos"):format(format.count(done), format.count(bar.total)))
   end
   local rows, photos = core.pooled(handle, set, layers, options)
   bar:clear()
   found = { rows = rows, photos = photos }
   remember(key, found)
   return found
end

-- ---- the classes of the pretraining ----

-- The class with the most votes outside of a fold, the first of equals; nil where there are none.
local function commonest(votes, but, classes)
   local best, most = nil, 0
   for class = 1, classes do
      local count = 0
      for number, of_fold in pairs(votes) do
         count = count + (number ~= but and of_fold[class] or 0)
      end
      if count > most then
         best, most = class, count
      end
   end
   return best
end

-- Whether what the network was taught first has to do with these classes: the class that its own head names most sure, as
-- a clue to the photo's class, learnt on the other folds. Nil when the network has no head of its own any more.
local function pretraining_of(net, handle, answers, photos, classes, fold)
   local own, source = net.classes, nil
   for _, row in ipairs(handle:layers()) do
      if row.head and row.parameters > 0 then
         source = row.source
      end
   end
   if not source or #own < 2 or table.concat(own, "\n") == table.concat(classes, "\n") then
      return nil
   end
   -- votes[old class][fold][class]: how many photos; an old class that no photo of the other folds has says nothing, and the
   -- commonest class is said
   local said, right, spread, votes, all = answers:argmax(2), 0, 0, {}, {}
   local function add(to, i)
      local of_fold = to[fold[i]] or {}
      to[fold[i]] = of_fold
      of_fold[photos.labels[i]] = (of_fold[photos.labels[i]] or 0) + 1
   end
   for i = 1, #photos.labels do
      if not votes[said[i]] then
         votes[said[i]], spread = {}, spread + 1
      end
      add(votes[said[i]], i)
      add(all, i)
   end
   local told = {} -- by old class and fold: what is said of such a photo
   for i, label in ipairs(photos.labels) do
      local key = said[i] * (#photos.labels + 1) + fold[i]
      told[key] = told[key] or commonest(votes[said[i]], fold[i], #classes) or commonest(all, fold[i], #classes)
      right = right + (told[key] == label and 1 or 0)
   end
   return strict.table({ classes = #own, agreement = right / #photos.labels, spread = spread }, "p.pretraining")
end

-- ---- the result ----

-- What a probe knows beyond what its fields show: probe -> table.
local details = setmetatable({}, { __mode = "k" })

-- All that a probe measured. Beside the public fields: fractions, pool, counts {class = photos}, files, network, data, seconds;
-- accuracy[fraction][number of the depth]; outcomes[layer], 1 for each photo that was right when it was held out and 0 for the
-- others; confidence[layer], the mean probability of what was said.
function probe.details(p)
   return details[p]
end

-- The keys of `graft probe --json`.
function probe.json(self)
   local depths, curve = {}, {}
   for i, depth in ipairs(self.depths) do
      depths[i] = { layer = depth.layer, features = depth.features, accuracy = depth.accuracy, low = depth.low,
         high = depth.high }
   end
   for i, point in ipairs(self.curve) do
      curve[i] = { fraction = point.fraction, layer = point.layer, accuracy = point.accuracy }
   end
   return { depths = core.array(depths), curve = core.array(curve) }
end

-- The chart of accuracy by depth, a line for each part of the photos (graft.plot).
function probe.chart(self)
   local series, marks = {}, {}
   for _, fraction in ipairs(self.fractions) do
      local points = {}
      for i, depth in ipairs(self.depths) do
         points[i] = fraction == 1 and { i, depth.accuracy, depth.low, depth.high } or { i, self.accuracy[fraction][i] }
      end
      series[#series + 1] = { name = probe.percent(fraction) .. " of the photos", points = points, dashed = fraction ~= 1 }
   end
   for i, depth in ipairs(self.depths) do
      marks[i] = { x = i, label = depth.layer }
   end
   return { title = "A linear classifier on the features of each depth", x = { label = "depth", min = 1, max = #self.depths },
      y = { label = "held-out accuracy", percent = true }, series = series, marks = marks }
end

-- The chart of accuracy by the number of photos to learn from, a line for each depth.
function probe.curve_chart(self)
   local series = {}
   for i, depth in ipairs(self.depths) do
      local points = {}
      for j, fraction in ipairs(self.fractions) do
         points[j] = { fraction * self.count * (self.folds - 1) / self.folds, self.accuracy[fraction][i] }
      end
      series[i] = { name = depth.layer, points = points }
   end
   return { title = "The same with fewer photos", x = { label = "photos that the classifier is fitted to", log = true },
      y = { label = "held-out accuracy", percent = true }, series = series }
end

function probe.percent(fraction)
   local percent = fraction * 100
   return (percent == math.floor(percent) and "%d %%" or "%.1f %%"):format(percent)
end

local pools = { avg = "means", max = "maxima", ["avg+max"] = "means and maxima" }

local function text(p)
   local self = details[p]
   local head, rows = { "depth", "features" }, {}
   for _, fraction in ipairs(self.fractions) do
      head[#head + 1] = probe.percent(fraction)
   end
   head[#head] = head[#head] .. " of the photos"
   for i, depth in ipairs(self.depths) do
      local row = { depth.layer, format.count(depth.features) }
      for _, fraction in ipairs(self.fractions) do
         row[#row + 1] = ("%.2f"):format(self.accuracy[fraction][i])
      end
      row[#row] = ("%.3f  (%.2f-%.2f)%s"):format(depth.accuracy, depth.low, depth.high,
         depth.layer == self.best and "   best" or "")
      rows[i] = row
   end
   table.insert(rows, 1, head)
   local title = ("A linear classifier on frozen features%s: accuracy on held-out folds (%s, %d folds, 95 %% interval)"):format(
      self.pool == "avg" and "" or (" (%s)"):format(pools[self.pool] or self.pool), format.plural(self.count, "photo"),
      self.folds)
   local columns = math.min(core.terminal("stdout") or 100, 100)
   return table.concat(format.wrap(title, columns), "\n") .. "\n"
      .. format.columns(rows, "lr" .. ("r"):rep(#self.fractions - 1) .. "l", "  ")
end

local function make(fields)
   for i, depth in ipairs(fields.depths) do
      strict.table(depth, ("p.depths[%d]"):format(i))
   end
   for i, point in ipairs(fields.curve) do
      strict.table(point, ("p.curve[%d]"):format(i))
   end
   local p = setmetatable({ best = fields.best, depths = fields.depths, curve = fields.curve, classes = fields.classes,
      count = fields.count, folds = fields.folds, pretraining = fields.pretraining },
      { __name = "graft.probe", __tostring = text })
   details[p] = fields
   return strict.table(p, "probe", { "pretraining" })
end

-- What a classifier says at each depth with each part of the photos: results[depth][fraction] as core.probes gives it.
local function measure(found, depths, fractions, labels, classes, fold, seed)
   local jobs, results = {}, {}
   for i = 1, #depths do
      for _, fraction in ipairs(fractions) do
         jobs[#jobs + 1] = { found.rows[i], fraction }
      end
   end
   local folds = 0
   for _, number in ipairs(fold) do
      folds = math.max(folds, number)
   end
   local bar = progress.bar("classifiers", #jobs * folds)
   local measured = core.probes(jobs, { labels = labels, classes = #classes, folds = fold, seed = seed,
      progress = function(done)
         bar:step(done - bar.done, ("%d/%d fitted"):format(done, bar.total))
      end })
   bar:clear()
   for i = 1, #depths do
      results[i] = {}
      for j, fraction in ipairs(fractions) do
         results[i][fraction] = measured[(i - 1) * #fractions + j]
      end
   end
   return results
end

local function judge(result, labels)
   local right, outcomes, confidence = 0, {}, 0
   for i, label in ipairs(labels) do
      outcomes[i] = result.said[i] == label and 1 or 0
      right, confidence = right + outcomes[i], confidence + result.sure[i]
   end
   return right, outcomes, confidence / #labels
end

-- The fields of a probe, from what was measured at each depth with each part of the photos.
local function collect(results, depths, fractions, found)
   local labels = found.photos.labels
   local fields = { depths = {}, curve = {}, accuracy = {}, outcomes = {}, confidence = {} }
   for _, fraction in ipairs(fractions) do
      fields.accuracy[fraction] = {}
   end
   for i, depth in ipairs(depths) do
      for _, fraction in ipairs(fractions) do
         local right, outcomes, confidence = judge(results[i][fraction], labels)
         fields.accuracy[fraction][i] = right / #labels
         fields.curve[#fields.curve + 1] = { fraction = fraction, layer = depth.name, accuracy = right / #labels }
         if fraction == 1 then
            local low, high = format.interval(right, #labels)
            fields.depths[i] = { layer = depth.name, features = found.rows[i].shape[2], accuracy = right / #labels, low = low,
               high = high }
            fields.outcomes[depth.name], fields.confidence[depth.name] = outcomes, confidence
         end
      end
   end
   local best = 1
   for i, depth in ipairs(fields.depths) do -- of equals the deepest: there the network is whole
      best = depth.accuracy >= fields.depths[best].accuracy and i or best
   end
   fields.best = fields.depths[best].layer
   return fields
end

local function check_data(d)
   if not data.is(d) then
      core.error("option", ("%s: expected a data set (graft.data.folder), got %s; its train part is what is probed"):format(WHO,
         type(d)))
   end
   local dataset = data.handle(d, WHO)
   if dataset:multilabel() then
      core.error("data", WHO .. ": photos with several labels have no one class to tell; probes are for one class a photo")
   end
   local counts = dataset:counts("train")
   for _, class in ipairs(d.classes) do
      if (counts[class] or 0) < 2 then
         core.error("data", ("%s: class %s has %s to train on; a probe needs at least 2 of each"):format(WHO,
            core.printable(class), format.plural(counts[class] or 0, "photo")))
      end
   end
   return dataset
end

-- graft.probe(net, data, {at=, folds=5, fractions={0.1, 0.3, 1}, pool="avg"}) -> probe. Of the data the train part alone.
function probe.probe(net, d, options)
   options = strict.options(options, WHO, keys)
   local handle = network.handle(net, WHO)
   local dataset = check_data(d)
   local folds, pool, fractions = options.folds or FOLDS, options.pool or "avg", fractions_of(options.fractions)
   pooling(pool)
   local depths = depths_of(handle, options.at)
   if folds < 2 or folds > #d.train then
      core.error("option", ("%s: folds must be from 2 to the %s to train on, got %d"):format(WHO,
         format.plural(#d.train, "photo"), folds))
   elseif context.planning then
      context.finish { planned = WHO }
   end
   local started = core.clock()
   local found = features_of(handle, dataset:set("train"), depths, pool)
   local labels, seed = found.photos.labels, core.seed()
   local fold = core.folds(labels, #d.classes, folds, seed)
   local results = measure(found, depths, fractions, labels, d.classes, fold, seed)
   local fields = collect(results, depths, fractions, found)
   fields.pretraining = pretraining_of(net, handle, found.rows[#found.rows], found.photos, d.classes, fold)
   fields.classes, fields.counts, fields.count, fields.folds = d.classes, dataset:counts("train"), #labels, folds
   fields.fractions, fields.pool, fields.files = fractions, pool, found.photos.files
   fields.network, fields.data, fields.seconds = net, d, core.clock() - started
   return make(fields)
end

return probe
