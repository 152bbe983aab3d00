-- The verdict of a study: pretrained or from scratch (or any two arms), a pure function of what was measured.
--
-- Two arms are compared at the largest budget that both have, seed by seed: the same seed gives both the same photos in the
-- same order. A difference counts when it is larger than one point and than its own standard error over the seeds (He, Girshick
-- and Dollar, "Rethinking ImageNet pre-training", 2018, is the question that this answers on one's own data).

local verdict = {}

verdict.MARGIN = 0.01 -- one point: less is nothing that anybody would notice
verdict.STEPS = 2 -- rises like the last one, from one budget to the next, after which an arm must still be behind
verdict.SOONER = 0.5 -- of the epochs of the other arm: in so many the first one gets as far

verdict.rule = "At the largest budget the arms are compared seed by seed; a difference counts when it is above one point and "
   .. "above its standard error. Where two more rises like its last one would bring the arm behind level, the verdict is "
   .. "not_converged. Ahead at the end: pretrained_better. Equal at the end, but ahead at a smaller budget or as far in half "
   .. "the epochs: only_faster. Else: equal."

local function mean(list)
   local sum = 0
   for _, value in ipairs(list) do
      sum = sum + value
   end
   return #list > 0 and sum / #list or nil
end
verdict.mean = mean

-- Standard deviation of a sample; 0 where one value cannot tell.
function verdict.deviation(list)
   local middle, sum = mean(list), 0
   for _, value in ipairs(list) do
      sum = sum + (value - middle) ^ 2
   end
   return #list > 1 and math.sqrt(sum / (#list - 1)) or 0
end

-- The mean of a - b over the seeds that both have, and how large it must be to count; nil where they share none.
local function compare(a, b)
   local differences = {}
   for seed, value in pairs(a) do
      if b[seed] then
         differences[#differences + 1] = value - b[seed]
      end
   end
   if #differences == 0 then
      return nil
   end
   table.sort(differences) -- sums must not depend on the order of pairs
   return mean(differences), math.max(verdict.MARGIN, verdict.deviation(differences) / math.sqrt(#differences)), #differences
end

local function values_of(by_seed)
   local list = {}
   for _, value in pairs(by_seed) do
      list[#list + 1] = value
   end
   table.sort(list)
   return list
end

-- Whether an arm was still getting better at its end: over the last budget, or over the last quarter of its curve.
local function rising(arm)
   local last, before = arm[#arm], arm[#arm - 1]
   if before then
      local gain = mean(values_of(last.accuracy)) - mean(values_of(before.accuracy))
      return gain > verdict.MARGIN, gain
   end
   local curve, late, earlier = arm.curve or {}, {}, {}
   local quarter = math.max(1, #curve // 4)
   for i = math.max(1, #curve - 2 * quarter + 1), #curve do
      local part = i > #curve - quarter and late or earlier
      part[#part + 1] = curve[i]
   end
   local gain = #earlier > 0 and mean(late) - mean(earlier) or 0
   return gain > verdict.MARGIN, gain
end

-- The first epoch of a curve that comes within the margin of a level; nil: none does.
local function reaches(curve, level)
   for epoch, accuracy in ipairs(curve or {}) do
      if accuracy >= level - verdict.MARGIN then
         return epoch
      end
   end
end

-- The smaller budgets at which a is ahead by more than counts.
local function ahead_before(a, b)
   for i = 1, math.min(#a, #b) - 1 do
      local difference, counts = compare(a[i].accuracy, b[i].accuracy)
      if difference and difference > counts then
         return a[i].budget, difference
      end
   end
end

local function points(share)
   return ("%+.1f points"):format(100 * share)
end

-- a, b: lists of {budget=number or nil, accuracy={[seed] = share}} from the smallest budget on, with curve = {accuracy of each
-- epoch} at the largest one. names: what they are called. Returns the verdict and why.
function verdict.judge(a, b, names)
   local difference, counts, seeds = nil, nil, nil
   if #a > 0 and #a == #b then
      difference, counts, seeds = compare(a[#a].accuracy, b[#b].accuracy)
   end
   if not difference then
      return "not_converged", ("%s and %s share no finished trial at the largest budget"):format(names[1], names[2])
   end
   local at = a[#a].budget and (" at %s %s"):format(names.budget or "budget", a[#a].budget) or ""
   local told = ("%s against %s%s: %s over %d %s (what counts: %.1f)"):format(names[1], names[2], at, points(difference), seeds,
      seeds == 1 and "seed" or "seeds", 100 * counts)
   local behind = difference >= 0 and b or a
   local still, gain = rising(behind)
   if still and math.abs(difference) > counts and verdict.STEPS * gain > math.abs(difference) - counts then
      return "not_converged", ("%s; %s is behind but still rising (%s lately)"):format(told, names[difference >= 0 and 2 or 1],
         points(gain))
   elseif difference > counts then
      return "pretrained_better", told
   end
   local budget, lead = ahead_before(a, b)
   if budget then
      return "only_faster", ("%s; but %s at %s %s"):format(told, points(lead), names.budget or "budget", budget)
   end
   local level = math.min(mean(values_of(a[#a].accuracy)), mean(values_of(b[#b].accuracy)))
   local first, second = reaches(a.curve, level), reaches(b.curve, level)
   if first and second and first <= verdict.SOONER * second then
      return "only_faster", ("%s; but %s is within a point of that in epoch %d, %s in epoch %d"):format(told, names[1], first,
         names[2], second)
   elseif difference < -counts then
      return "equal", told .. (": there is nothing to gain from %s here"):format(names[1])
   end
   return "equal", told
end

-- One verdict of several (of comparisons that differ in something else): theirs where they agree; not_converged where one of
-- them is; else the weaker claim.
local strength = { equal = 1, only_faster = 2, pretrained_better = 3 }

function verdict.together(list)
   local weakest
   for _, word in ipairs(list) do
      if word == "not_converged" then
         return word
      end
      weakest = (not weakest or strength[word] < strength[weakest]) and word or weakest
   end
   return weakest or "not_converged"
end

return verdict
