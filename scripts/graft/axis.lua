-- Axes of plots: how far they reach, where their ticks are, and how numbers on them read.

local format = require "graft.format"

local axis = {}

-- 1, 2 or 5 times a power of ten: the step that gives about `count` ticks over `span`.
local function nice_step(span, count)
   local rough = span / math.max(1, count)
   local power = 10.0 ^ math.floor(math.log(rough, 10))
   for _, times in ipairs { 1, 2, 5 } do
      if rough <= times * power * 1.0000001 then
         return times * power
      end
   end
   return 10 * power
end

-- Digits after the point that tell multiples of `step` apart.
local function digits_of(step)
   return math.max(0, math.min(12, math.ceil(-math.log(step, 10) - 1e-9)))
end

local raised = { ["-"] = "⁻", ["0"] = "⁰", ["1"] = "¹", ["2"] = "²", ["3"] = "³", ["4"] = "⁴", ["5"] = "⁵", ["6"] = "⁶",
   ["7"] = "⁷", ["8"] = "⁸", ["9"] = "⁹" }

-- 0.0003 and 12,000 as they are; what is smaller or larger as 2×10⁻⁵.
local function power_text(value)
   local size = math.abs(value)
   if size ~= 0 and (size < 0.001 or size >= 1e6) then
      local mantissa, exponent = ("%.1e"):format(value):match("^(.-)e(.*)$")
      local up = tostring(math.tointeger(tonumber(exponent))):gsub(".", raised)
      mantissa = mantissa:gsub("%.0$", "")
      return (mantissa == "1" and "" or mantissa == "-1" and "-" or mantissa .. "×") .. "10" .. up
   end
   return nil
end

-- A number with `digits` after the point and groups of three before it.
local function fixed_text(value, digits)
   local text = ("%." .. digits .. "f"):format(value)
   local sign, whole, rest = text:match("^(%-?)(%d+)(.*)$")
   if sign == "-" and not text:find("[1-9]") then
      sign = ""
   end
   return sign .. (#whole < 16 and format.count(math.tointeger(tonumber(whole))) or whole) .. rest
end

-- One number by itself, as a tooltip or the end of a bar says it.
local function tell(value, options)
   if options.percent then
      return (fixed_text(100 * value, 1):gsub("%.0$", "")) .. " %"
   elseif value % 1 == 0 and math.abs(value) < 1e6 then
      return fixed_text(value, 0)
   end
   local small = power_text(value)
   if small then
      return small
   end
   local digits = math.max(0, 2 - math.floor(math.log(math.abs(value), 10)))
   local text = fixed_text(value, math.min(digits, 5))
   return text:find(".", 1, true) and (text:gsub("0+$", ""):gsub("%.$", "")) or text
end

local function multiples(low, high, step)
   local list = {}
   for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
      list[#list + 1] = i * step
   end
   return list
end

-- axis.ticks(low, high, count) -> multiples of 1, 2 or 5 times a power of ten within [low, high], about `count` of them, and
-- the step between them. `whole`: no fractions.
function axis.ticks(low, high, count, whole)
   local step = nice_step(high > low and high - low or math.max(math.abs(low), 1), count)
   step = whole and math.max(1, step) or step
   return multiples(low, high, step), step
end

-- Ticks of a logarithmic axis: powers of ten, with 2 and 5 between them where there is room, or every n-th power.
local function log_ticks(low, high, count)
   local first, last = math.floor(math.log(low, 10) + 1e-9), math.ceil(math.log(high, 10) - 1e-9)
   local decades = last - first
   local every = math.max(1, math.ceil(decades / math.max(1, count)))
   local factors = decades * 3 <= count and { 1, 2, 5 } or { 1 }
   local list = {}
   for power = first, last do
      for _, factor in ipairs(power % every == 0 and factors or {}) do
         local value = factor * 10.0 ^ power
         if value >= low * 0.999999 and value <= high * 1.000001 then
            list[#list + 1] = value
         end
      end
   end
   if #list < 2 then
      return { low, high }
   end
   return list
end

-- How far the values reach; a single value gets room on both sides.
local function reach(values, options)
   local low, high = math.huge, -math.huge
   for _, value in ipairs(values) do
      low, high = math.min(low, value), math.max(high, value)
   end
   if low > high then
      low, high = options.log and 1 or 0, options.log and 10 or 1
   end
   low, high = options.min or low, options.max or high
   if not (low < high) then
      if options.log then
         low, high = low / 2, low * 2
      else
         local room = options.whole and 1 or options.percent and 0.05 or low ~= 0 and math.abs(low) * 0.1 or 1
         low, high = options.min or low - room, options.max or low + room
         high = low < high and high or low + room
      end
   end
   return low, high
end

-- axis.new(values, {log=, min=, max=, percent=, whole=, tight=, label=}, count): low, high, ticks = { {value=, text=}, ... },
-- at(value) -> 0..1, tell(value) -> text. An axis that is not `tight` ends at ticks, so that no point lies on its edge.
function axis.new(values, options, count)
   local low, high = reach(values, options)
   local list, step
   local fixed_low, fixed_high = low == options.min and low, high == options.max and high
   if options.log and low > 0 then
      list = log_ticks(low, high, count)
      if not options.tight then
         low = fixed_low or math.min(low, list[1])
         high = fixed_high or math.max(high, list[#list])
      end
   else
      list, step = axis.ticks(low, high, count, options.whole)
      if not options.tight then
         low = fixed_low or step * math.floor(low / step + 1e-9)
         high = fixed_high or step * math.ceil(high / step - 1e-9)
         if options.percent then
            low, high = math.max(low, math.min(0, low + step)), high > 1 and high - step < 1 and 1 or high
         end
         list = multiples(low, high, step)
      end
   end
   local ticks = {}
   for i, value in ipairs(list) do
      local text
      if options.percent then
         text = fixed_text(100 * value, step and digits_of(100 * step) or 0) .. " %"
      elseif not step then
         text = tell(value, options)
      else
         local large = math.max(math.abs(list[1]), math.abs(list[#list]))
         local far = large >= 1e6 or large < 0.001
         text = far and (value == 0 and "0" or power_text(value)) or fixed_text(value, digits_of(step))
      end
      ticks[i] = { value = value, text = text }
   end
   local from, span = low, high - low
   if options.log then
      from, span = math.log(low), math.log(high) - math.log(low)
   end
   return { low = low, high = high, log = options.log, label = options.label, ticks = ticks,
      at = function(value)
         return ((options.log and math.log(value) or value) - from) / span
      end,
      tell = function(value)
         return tell(value, options)
      end }
end

return axis
