-- The classifiers of a network as places where it might end: accuracy, and what each costs.

local core = require "graft.core"
local format = require "graft.format"
local network = require "graft.network"

local exits = {}

local BATCH = 8 -- photos that are timed together
local WARM, TIMES = 0.3, 5 -- seconds before, and how many are timed: their median is told

-- Milliseconds a photo and multiply-adds of a photo.
local function cost(handle)
   local bench = core.bench(handle, { batch = BATCH })
   local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      bench:close()
   end })
   local started, times = core.clock(), {}
   repeat
      core.check_interrupt()
      bench:run()
   until core.clock() - started > WARM
   for i = 1, TIMES do
      local began = core.clock()
      bench:run()
      times[i] = core.clock() - began
   end
   table.sort(times)
   local flop = 0
   for _, step in ipairs(bench:steps()) do
      flop = flop + step.forward.flop
   end
   return 1000 * times[TIMES // 2 + 1] / BATCH, flop / 2 / BATCH
end

-- result: of graft.evaluate on `count` photos. The heads in network order, the main one last: {layer=, accuracy=, low=, high=,
-- multiply_adds= of a photo, share= of the whole network's, milliseconds= a photo}.
function exits.of(net, result, count)
   local rows, main = {}, nil
   for _, head in ipairs(result.heads) do
      local low, high = format.interval(math.floor(head.accuracy * count + 0.5), count)
      local row = { layer = head.layer, accuracy = head.accuracy, low = low, high = high, loss = head.loss }
      local ends = head.layer == "head" and net:clone():remove_aux() or net:cut(head.layer, { head = "aux" })
      row.milliseconds, row.multiply_adds = cost(network.handle(ends, "graft eval"))
      ends:close()
      if head.layer == "head" then
         main = row
      else
         rows[#rows + 1] = row
      end
   end
   rows[#rows + 1] = main
   for _, row in ipairs(rows) do
      row.share = main.multiply_adds > 0 and row.multiply_adds / main.multiply_adds or 1
   end
   return rows
end

local function millions(count)
   return count < 1e7 and ("%.1f M"):format(count / 1e6) or format.count(math.floor(count / 1e6 + 0.5)) .. " M"
end

function exits.text(rows, count)
   local lines, best = { { "classifier at", "accuracy", "95 % interval", "multiply-adds", "of all", "a photo" } }, nil
   for _, row in ipairs(rows) do
      lines[#lines + 1] = { row.layer == "head" and "the end" or row.layer, ("%.3f"):format(row.accuracy),
         ("%.2f-%.2f"):format(row.low, row.high), millions(row.multiply_adds), ("%.0f %%"):format(100 * row.share),
         ("%.2f ms"):format(row.milliseconds) }
   end
   local main = rows[#rows]
   for i = #rows - 1, 1, -1 do -- the earliest one that is as good as the last, as far as the photos can tell
      best = rows[i].accuracy >= main.low and rows[i] or best
   end
   local text = format.columns(lines, "lrrrrr", "  ")
   if #rows == 1 then
      return text .. "\n\nThis network has one classifier; net:add_aux(LAYER, {}) before a training adds others on the way."
   elseif best then
      return text .. ("\n\nearly exit  net:cut(%q, { head = \"aux\" }) ends there: %.1f points %s, %.0f %% of the work"):format(
         best.layer, 100 * math.abs(main.accuracy - best.accuracy), best.accuracy >= main.accuracy and "more" or "less",
         100 * best.share)
   end
   return text .. ("\n\nNo earlier classifier comes near the last one on these %s."):format(format.plural(count, "photo"))
end

return exits
