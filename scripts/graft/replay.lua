-- Comparing a run with its replay: locks, metrics, digests. On the same kind of machine all of it has to be the same bits;
-- elsewhere results may differ within a tolerance, since training enlarges a difference in the last bit.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local lock = require "graft.lock"

local replay = {}

-- Where threads, version, build, processor or BLAS are others: how far a row of metrics.csv may be off.
replay.tolerance = { loss = 0.05, share = 0.05 } -- losses: relative; accuracies and other shares: absolute

local MAX_CSV = 64 << 20

function replay.tolerance_text()
   return ("losses within %g %%, accuracies within %g or two photos"):format(100 * replay.tolerance.loss, replay.tolerance.share)
end

-- The cells of a line of CSV.
function replay.cells(line)
   local cells, at = {}, 1
   repeat
      local cell, stop = line:match('^"(.-)"()%f[,\0]', at) -- a quote inside is written twice
      if not cell then
         cell, stop = line:match("^([^,]*)()", at)
      end
      cells[#cells + 1] = (cell:gsub('""', '"'))
      at = stop + 1
   until stop > #line
   return cells
end

-- The rows of a metrics.csv: a list of tables by column.
function replay.metrics(path)
   local rows, columns = {}, nil
   if core.stat(path) then
      for line in core.read(path, MAX_CSV):gmatch("[^\n]+") do
         local cells = replay.cells(line)
         if not columns then
            columns = cells
         else
            local row = {}
            for i, name in ipairs(columns) do
               row[name] = cells[i] or ""
            end
            rows[#rows + 1] = row
         end
      end
   end
   return rows
end

local function is_loss(column)
   return column:find("loss", 1, true) ~= nil
end

local function is_share(column)
   return column:find("^val_") ~= nil and not is_loss(column)
end

-- Are these two cells of a column the same, or near enough?
local function near(column, a, b, exact, share)
   if a == b then
      return true
   end
   a, b = tonumber(a), tonumber(b)
   if exact or not a or not b then
      return false
   elseif is_loss(column) then
      return math.abs(a - b) <= replay.tolerance.loss * math.max(math.abs(a), math.abs(b), 0.1)
   elseif is_share(column) then
      return math.abs(a - b) <= share
   end
   return math.abs(a - b) <= 1e-6 * math.max(math.abs(a), math.abs(b))
end

local function add(rows, what, was, now)
   rows[#rows + 1] = { what = what, locked = was, now = now }
end

-- Rows of metrics.csv that differ, but for the seconds they took. Returns how many cells are not the same bits.
local function compare_metrics(rows, was, now, exact, share)
   local unequal = 0
   for i = 1, math.max(#was, #now) do
      local a, b = was[i], now[i]
      local row = a or b
      local where = ("fit %s epoch %s"):format(core.printable(row.fit or "-"), core.printable(row.epoch or "-"))
      if not a or not b then
         unequal = unequal + 1
         add(rows, where, a and "a row" or "none", b and "a row" or "none")
      else
         local columns = strict.keys(a)
         for _, name in ipairs(strict.keys(b)) do
            columns[#columns + 1] = a[name] == nil and name or nil
         end
         for _, column in ipairs(columns) do
            if column ~= "seconds" and a[column] ~= b[column] then
               unequal = unequal + 1
               if not near(column, a[column] or "", b[column] or "", exact, share) then
                  add(rows, where .. " " .. core.printable(column), core.printable(a[column] or "-"),
                     core.printable(b[column] or "-"))
               end
            end
         end
      end
   end
   return unequal
end

local function digest_text(digest)
   return type(digest) == "string" and core.printable(digest) or "-"
end

local function compare_digests(rows, was, now)
   for i = 1, math.max(#was.fits, #now.fits) do
      local a, b = was.fits[i] or {}, now.fits[i] or {}
      if a.digest ~= b.digest then
         add(rows, ("weights after fit %d"):format(i), digest_text(a.digest), digest_text(b.digest))
      end
   end
   if #rows == 0 and was.digest ~= now.digest then
      add(rows, "weights at the end", digest_text(was.digest), digest_text(now.digest))
   end
end

-- Compares the run folder `was_folder` with its replay in `now_folder`. Returns
--    {same=, exact=, bits=, differs=list of {what=, locked=, now=}, machine=list of the same, rows=}
-- exact: the same bits were demanded; bits: they came out.
function replay.compare(was, was_folder, now_folder)
   local now = lock.read(now_folder .. "/recipe.lock")
   local result = { differs = lock.inputs(was, now), machine = lock.machine(was, now) }
   result.exact = #result.machine == 0
   local metrics = replay.metrics(was_folder .. "/metrics.csv")
   local photos = was.data[1] and was.data[1].val or 0
   local unequal = compare_metrics(result.differs, metrics, replay.metrics(now_folder .. "/metrics.csv"), result.exact,
      math.max(replay.tolerance.share, photos > 0 and 2.001 / photos or 0))
   local digests = {}
   compare_digests(digests, was, now)
   result.rows, result.bits, result.digest = #metrics, unequal == 0 and #digests == 0, now.digest
   if result.exact then
      table.move(digests, 1, #digests, #result.differs + 1, result.differs)
   end
   result.same = #result.differs == 0
   return result
end

local MOST_ROWS = 20

-- What a person reads about it.
function replay.text(folder, result, seconds)
   local lines = {}
   local took = ("%s replayed in %s: "):format(folder, format.seconds(seconds))
   if result.same then
      lines[1] = took .. (result.bits and "the same, bit for bit" or "the same within the tolerance")
      lines[2] = format.columns({ { "metrics", ("%s of metrics.csv"):format(format.plural(result.rows, "row")) },
         { "weights", result.bits and lock.short(digest_text(result.digest)) .. " both times" or "other bits" } })
   else
      local shown = table.move(result.differs, 1, math.min(#result.differs, MOST_ROWS), 1, {})
      lines[1] = took .. format.plural(#result.differs, "difference")
      lines[2] = lock.table(shown, "then", "now")
      if #result.differs > #shown then
         lines[3] = ("  ... and %s more (--json has them all)"):format(format.count(#result.differs - #shown))
      end
   end
   if #result.machine > 0 then
      lines[#lines + 1] = ("not the same machine, program or threads, so %s count as the same%s:\n%s"):format(
         replay.tolerance_text(), result.bits and " (it came out bit for bit)" or "", lock.table(result.machine, "then", "now"))
   end
   return table.concat(lines, "\n")
end

return replay
