-- Progress on stderr: a bar with the time left on a terminal, plain lines otherwise.

local core = require "graft.core"
local format = require "graft.format"
local context = require "graft.context"

local progress = {}

local function shown()
   if context.progress ~= nil then
      return context.progress
   end
   return not context.quiet
end

local drawn = false -- is there a bar on the terminal's last line?

-- Takes a bar away that stands on the last line, before something else is written there.
function progress.clear()
   if drawn then
      io.stderr:write("\r\27[K")
      drawn = false
   end
end

local CELLS, FEW = 24, 8 -- of a bar, and of one that has to make room

-- "LABEL  [###---]  TEXT  LEFT" in at most `columns`: the bar gives way first, then the end of the text; the time left, which is
-- what people look for, goes last.
function progress.text(label, part, text, left, columns)
   local over = #label + 2 + 2 + CELLS + 2 + #text + 2 + #left - columns
   local cells = math.max(FEW, math.min(CELLS, CELLS - over))
   over = over - (CELLS - cells)
   if over > 0 then
      text = text:sub(1, math.max(0, #text - over))
   end
   local filled = math.floor(cells * part)
   return ("%s  [%s%s]  %s  %s"):format(label, ("#"):rep(filled), ("-"):rep(cells - filled), text, left):sub(1, columns)
end

local Bar = {}
Bar.__index = Bar

-- progress.bar("epoch  1/20", total [, done]): `total` units of work, `done` of them before the clock started. Draws at
-- most ten times a second. The label may be changed as the work goes on.
function progress.bar(label, total, done)
   local bar = { label = label, total = total, done = done or 0, before = done or 0, start = core.clock(), drawn = 0,
      columns = shown() and core.terminal("stderr") or nil, visible = shown() }
   return setmetatable(bar, Bar)
end

function Bar:draw(text)
   local now = core.clock()
   if not self.columns or now - self.drawn < 0.1 then
      return
   end
   self.drawn = now
   local part = self.total > 0 and self.done / self.total or 1
   local fresh, spent = self.done - self.before, now - self.start
   local left = fresh > 0 and spent > 0.5
      and ("%s left"):format(format.seconds(spent / fresh * (self.total - self.done))) or ""
   local line = progress.text(self.label, part, text or "", left, self.columns - 3) -- Ctrl-C puts ^C behind it
   io.stderr:write("\r", line, "\27[K")
   drawn = true
end

function Bar:step(units, text)
   self.done = self.done + units
   self:draw(text)
end

-- Where there is no bar (no terminal), a line that stays.
function Bar:line(text)
   if self.visible and not self.columns then
      io.stderr:write(text, "\n")
   end
end

-- Ends the bar: on a terminal with a line that stays.
function Bar:finish(text)
   if self.visible and self.columns then
      progress.clear()
      io.stderr:write(text, "\n")
   end
end

-- Takes the bar away without leaving a line.
function Bar.clear()
   progress.clear()
end

-- Rate of this bar in units a second.
function Bar:rate()
   return (self.done - self.before) / math.max(core.clock() - self.start, 1e-9)
end

-- A line that stays, wherever progress is shown.
function progress.line(text)
   if shown() then
      progress.clear()
      io.stderr:write(text, "\n")
   end
end

return progress
