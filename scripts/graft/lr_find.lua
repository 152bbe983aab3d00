-- graft.lr_find: the learning rate range test of Smith, "Cyclical Learning Rates for Training Neural Networks", 2015 (arXiv
-- 1506.01186, section 3.3), with the exponential rise and the smoothed loss that practice has added: a copy of the network
-- trains while the rate grows from step to step, and the loss tells which rates are of use. Nothing else changes.

local core = require "graft.core"
local context = require "graft.context"
local descriptions = require "graft.descriptions"
local fit = require "graft.fit"
local format = require "graft.format"
local loop = require "graft.loop"
local plot = require "graft.plot"
local progress = require "graft.progress"
local strict = require "graft.strict"

local lr_find = {}

local WHO = "graft.lr_find"
local STEPS, FEW, PASSES = 100, 50, 5 -- steps without steps=: 100, but no more than 5 passes, but no fewer than 50
local MOST = 100000 -- steps: more is a slip
local MEMORY = 0.1 -- the smoothed loss remembers about this part of all steps
local WORSE = 4 -- so many times the best smoothed loss, and more than at the beginning: it will not come back
local QUIET = 0.1 -- the part of the steps that tells what the loss was before the rates took effect
local FALL = 0.98 -- a smoothed loss that never goes below this part of it has not fallen
local MARGIN = 10 -- at the minimum the loss is about to rise: so many times less is a rate to train with

-- The suggestion lies in the middle, in the logarithm, of two rates that are known for it: a tenth of that at the minimum, which
-- is too high where few photos are learnt by heart long before the loss rises, and that of the steepest descent, which is low
-- and noisy. Each errs by a factor of 3 or so, and seldom in the same direction.

-- --- the rule, a pure function of the curve ---

-- Losses as an exponential moving average with bias correction (Kingma and Ba 2014, section 3), so that its first values are
-- not drawn towards 0. Adds the next loss to `state` and returns the average.
local function smooth(state, loss, keep)
   state.sum = keep * (state.sum or 0) + (1 - keep) * loss
   state.weight = keep * (state.weight or 0) + (1 - keep)
   return state.sum / state.weight
end

-- The rates of all steps: from start to stop, each the same factor above the one before.
function lr_find.rates(start, stop, steps)
   local rates = {}
   for i = 1, steps do
      rates[i] = start * (stop / start) ^ ((i - 1) / (steps - 1))
   end
   rates[steps] = stop
   return rates
end

-- The smoothed loss of every step.
function lr_find.smoothed(losses, steps)
   local state, keep, list = {}, 1 - 1 / math.max(2, MEMORY * steps), {}
   for i, loss in ipairs(losses) do
      list[i] = smooth(state, loss, keep)
   end
   return list
end

-- Two digits: what is printed is what is meant.
local function round(rate)
   return tonumber(("%.1e"):format(rate))
end

-- points: {lr=, loss=, smoothed=} in the order of the steps; `steps` is how many there would have been. Returns
-- {began=, lowest=, minimum=, steepest=, lr=}; without the last three where the loss never fell, without any of no points.
function lr_find.suggest(points, steps)
   if #points == 0 then
      return {}
   end
   local quiet = math.max(1, math.min(#points, math.floor(QUIET * steps)))
   local began = 0
   for i = 1, quiet do
      began = began + points[i].loss / quiet
   end
   local best = quiet
   for i = quiet + 1, #points do
      best = points[i].smoothed < points[best].smoothed and i or best
   end
   local result = { began = began, lowest = points[best].smoothed }
   if result.lowest > FALL * began then
      return result
   end
   local steepest, at = 0, best
   for i = quiet + 1, best - 1 do
      local slope = (points[i + 1].smoothed - points[i - 1].smoothed) / math.log(points[i + 1].lr / points[i - 1].lr)
      if slope < steepest then
         steepest, at = slope, i
      end
   end
   result.minimum, result.steepest = points[best].lr, points[at].lr
   result.lr = round(math.sqrt(result.steepest * result.minimum / MARGIN))
   return result
end

-- --- the search ---

local keys = { optimizer = "table", batch_size = "integer", augment = { "string", "table" }, loss = { "function", "table" },
   start = "number", stop = "number", steps = "integer", bn = "string", clip = "number", stash = "string", prefix = "string",
   cache = { "string", "table" } }

local function check_range(options)
   options.start, options.stop = options.start or 1e-5, options.stop or 1
   for _, name in ipairs { "start", "stop" } do
      local rate = options[name]
      if not (rate > 0 and rate < math.huge) then
         core.error("option", ("%s: %s is a rate above 0, got %s"):format(WHO, name, rate))
      end
   end
   if options.stop <= options.start then
      core.error("option", ("%s: the rate rises from start to stop, and stop = %s is not above start = %s"):format(WHO,
         options.stop, options.start))
   elseif options.steps and (options.steps < 10 or options.steps > MOST) then
      core.error("option", ("%s: steps is from 10 to %s, got %d"):format(WHO, format.count(MOST), options.steps))
   end
end

-- What is searched, as graft.fit would train it.
local function prepare(net, d, options)
   options = strict.options(options, WHO, keys)
   check_range(options)
   local range = { start = options.start, stop = options.stop, steps = options.steps }
   options.start, options.stop, options.steps = nil, nil, nil
   options.val = false
   local job = fit.prepare(net, d, options, WHO)
   range.steps = range.steps or math.min(STEPS, math.max(FEW, PASSES * job.steps_per_epoch))
   job.options.epochs = math.ceil(range.steps / job.steps_per_epoch)
   job.steps = range.steps
   job.rates = lr_find.rates(range.start, range.stop, range.steps)
   return job
end

-- Trains while the rate rises. Returns the points and why it ended: "stop", "worse" or "number".
local function search(job)
   local points, best, state = {}, math.huge, {}
   local keep = 1 - 1 / math.max(2, MEMORY * #job.rates)
   for epoch = 1, job.options.epochs do
      for _, _, b in loop.batches(job, epoch) do
         local rate = job.rates[#points + 1]
         job.trainer:set_lr(rate)
         local ok, loss = pcall(loop.step, job, b)
         if not ok and core.is_error(loss) and loss.kind == "number" then
            return points, "number"
         elseif not ok then
            error(loss, 0)
         end
         local smoothed = smooth(state, loss, keep)
         points[#points + 1] = { lr = rate, loss = loss, smoothed = smoothed }
         best = math.min(best, smoothed)
         job.bar:step(1, ("lr %s  loss %.3f"):format(format.rate(rate), smoothed))
         if smoothed > WORSE * best and smoothed > points[1].smoothed then
            return points, "worse"
         elseif #points == #job.rates then
            return points, "stop"
         end
      end
   end
   return points, "stop"
end

local ends = {
   stop = "to the last rate",
   worse = ("then the smoothed loss was %d times its lowest"):format(WORSE),
   number = "then the loss or a gradient was no number",
}

local function why_of(found, ended)
   if not found.began then
      return "the loss of the first step, or a gradient of it, was no number"
   elseif not found.lr then
      return ("at no rate did the smoothed loss fall by %d %% below the %.3f where it began: the network may be done learning, "
         .. "or needs other rates (start, stop) or more steps"):format(math.floor((1 - FALL) * 100 + 0.5), found.began)
   end
   return ("in the middle, geometrically, of the rate at which the smoothed loss fell fastest (%s) and of a tenth of that at "
      .. "which it was lowest (%.3f at %s, from %.3f at the beginning); %s"):format(format.rate(found.steepest), found.lowest,
      format.rate(found.minimum), found.began, ends[ended])
end

-- --- what it gives ---

-- The curve as a chart of graft.plot; also the loss of each step, if wished.
function lr_find.chart(self, with_steps)
   local raw, smoothed = {}, {}
   for i, point in ipairs(self.points) do
      raw[i], smoothed[i] = { point.lr, point.loss }, { point.lr, point.smoothed }
   end
   raw = with_steps and { name = "of each step", points = raw, dashed = true } or nil
   local marks = {}
   for i, name in ipairs { "lr", "steepest", "minimum" } do
      local rate = rawget(self, name)
      marks[i] = rate and { x = rate, label = i == 1 and "suggestion" or name }
   end
   local most = 0 -- a loss that ran away at the end would press the rest flat
   for _, point in ipairs(self.points) do
      most = math.max(most, 1.5 * (self.began or 0), point.lr <= (rawget(self, "minimum") or 0) and point.smoothed or 0)
   end
   return { title = "loss while the learning rate rises", x = { label = "learning rate", log = true },
      y = { label = "loss", max = most > 0 and most or nil },
      series = { { name = "smoothed", points = smoothed }, raw }, marks = marks }
end

-- Rows {name, text} of what was found.
function lr_find.rows(self)
   local rows = {}
   if rawget(self, "lr") then
      rows[1] = { "lr", ("%s   between steepest and a tenth of minimum, their geometric mean"):format(format.rate(self.lr)) }
      rows[2] = { "steepest", ("%s   where the smoothed loss fell fastest"):format(format.rate(self.steepest)) }
      rows[3] = { "minimum", ("%s   where it was lowest: %.3f, from %.3f"):format(format.rate(self.minimum), self.lowest,
         self.began) }
   else
      rows[1] = { "lr", "no suggestion: " .. self.why }
   end
   rows[#rows + 1] = { "steps", ("%d of %d, batch %d; %s"):format(#self.points, self.steps, self.batch_size, ends[self.ended]) }
   rows[#rows + 1] = { "spent", ("%s on a copy: the network is as it was"):format(format.seconds(self.seconds)) }
   if rawget(self, "lr") then
      rows[#rows + 1] = { "next", ("graft.fit(net, data, { optimizer = %s })"):format(self.optimizer) }
   end
   return rows
end

function lr_find.text(self)
   local width = math.min(core.terminal("stdout") or 80, 100)
   local lines = plot.text(lr_find.chart(self), { columns = width, rows = 14 })
   return lines .. "\n\n" .. format.columns(lr_find.rows(self))
end

local function result(fields)
   setmetatable(fields, { __name = "graft.lr", __tostring = lr_find.text })
   strict.table(fields, "what lr_find found", { "steepest", "minimum", "began", "lowest" })
   local meta = getmetatable(fields)
   local index = meta.__index
   meta.__index = function(self, key)
      if key == "lr" then
         core.error("number", WHO .. ": there is no suggestion: " .. self.why)
      end
      return index(self, key)
   end
   return fields
end

-- graft.lr_find(net, data [, options]) -> {lr=, steepest=, minimum=, points=, why=}
function lr_find.find(net, d, options)
   local job = prepare(net, d, options)
   if context.planning then
      return require("graft.plan").pending("lr_find(...)", "graft.lr", {}, "(planned, not searched)")
   end
   local started, draws = core.clock(), core.draws()
   job.handle = job.handle:clone()
   local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      core.draws(draws) -- a loss written in Lua may have drawn random numbers
      progress.clear()
      loop.close(job)
      job.handle:close()
   end })
   loop.open(job, core.fit() + 1) -- the photos in the order in which the next fit will see them
   loop.keep(job)
   job.bar = progress.bar("learning rate", #job.rates)
   local points, ended = search(job)
   local found = lr_find.suggest(points, #job.rates)
   local optimizer = job.options.optimizer
   return result { lr = found.lr, steepest = found.steepest, minimum = found.minimum, points = points,
      why = why_of(found, ended), began = found.began, lowest = found.lowest, ended = ended, steps = #job.rates,
      batch_size = job.batch_size, seconds = core.clock() - started,
      optimizer = descriptions.code(optimizer, { lr = found.lr }) }
end

return lr_find
