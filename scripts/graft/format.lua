-- Text for people: tables that line up, numbers with their units.

local core = require "graft.core"

local format = {
   count = core.format_count, -- "9,408"
   bytes = core.format_bytes, -- "0.6 MiB"
   seconds = core.format_seconds, -- "3 min 20 s"
   interval = core.interval, -- (right, count) -> low, high: Wilson's 95 % interval of a share
}

-- Characters that a terminal shows for a UTF-8 text.
local function columns_of(text)
   return utf8.len(text) or #text
end

-- Rows of strings as lines with aligned columns. `align` is a string of one letter a column: "l" or "r" (default "l").
-- `indent` goes before every line. Trailing blanks are cut.
function format.columns(rows, align, indent)
   local widths = {}
   for _, row in ipairs(rows) do
      for i, cell in ipairs(row) do
         widths[i] = math.max(widths[i] or 0, columns_of(cell))
      end
   end
   local lines = {}
   for _, row in ipairs(rows) do
      local cells = {}
      for i, cell in ipairs(row) do
         local gap = (" "):rep(widths[i] - columns_of(cell))
         cells[i] = (align or ""):sub(i, i) == "r" and gap .. cell or cell .. gap
      end
      lines[#lines + 1] = ((indent or "") .. table.concat(cells, "  ")):gsub("%s+$", "")
   end
   return table.concat(lines, "\n")
end

-- The words of a text in lines of at most `width` characters; a longer word has a line of its own. A % stays with its number.
function format.wrap(text, width)
   local lines, line, words = {}, "", {}
   for word in text:gmatch("%S+") do
      if word:find "^%%" and #words > 0 then
         words[#words] = words[#words] .. " " .. word
      else
         words[#words + 1] = word
      end
   end
   for _, word in ipairs(words) do
      if line ~= "" and columns_of(line) + 1 + columns_of(word) > width then
         lines[#lines + 1], line = line, word
      else
         line = line == "" and word or line .. " " .. word
      end
   end
   lines[#lines + 1] = line
   return lines
end

-- Rows { label, text }, the text wrapped beside its label into `width` (nil: no wrapping) but for the labels of `whole`.
function format.labelled(rows, width, whole)
   local wide, lines = 0, {}
   for _, row in ipairs(rows) do
      wide = math.max(wide, columns_of(row[1]))
   end
   for _, row in ipairs(rows) do
      local parts = width and not (whole and whole[row[1]]) and format.wrap(row[2], math.max(20, width - wide - 2)) or { row[2] }
      for i, part in ipairs(parts) do
         local label = i == 1 and row[1] or ""
         lines[#lines + 1] = label .. (" "):rep(wide - columns_of(label) + 2) .. part
      end
   end
   return table.concat(lines, "\n")
end

-- Rows of text cells in aligned columns that together fit into `width`: cells are wrapped, the last column takes what the
-- others leave, and no column between is wider than a quarter of all.
function format.table(rows, width, indent)
   local widths, last, most = {}, 0, math.max(12, width // 4 - 1)
   for _, row in ipairs(rows) do
      last = math.max(last, #row)
      for i, cell in ipairs(row) do
         local wide = math.max(widths[i] or 1, columns_of(cell))
         widths[i] = i > 1 and math.min(most, wide) or wide
      end
   end
   local left = #indent
   for i = 1, last - 1 do
      left = left + widths[i] + 2
   end
   widths[last] = math.max(20, width - left)
   local lines = {}
   for _, row in ipairs(rows) do
      local cells, height = {}, 1
      for i = 1, last do
         cells[i] = format.wrap(row[i] or "", widths[i])
         height = math.max(height, #cells[i])
      end
      for n = 1, height do
         local parts = {}
         for i = 1, last do
            local part = cells[i][n] or ""
            parts[i] = part .. (" "):rep(widths[i] - columns_of(part))
         end
         lines[#lines + 1] = (indent .. table.concat(parts, "  ")):gsub("%s+$", "")
      end
   end
   return table.concat(lines, "\n")
end

-- Columns for text that is read: those of the terminal; 100 where stdout is none.
function format.width()
   return math.max(40, math.min(core.terminal("stdout") or 100, 120))
end

-- "bf16", and whether the processor helps.
function format.precision(name)
   return core.native(name) and name or name .. " (emulated: this processor has no instructions for it)"
end

-- "[64,112,112]"
function format.shape(shape)
   return "[" .. table.concat(shape, ",") .. "]"
end

-- "2,052 of 11,178,564 (0.02 %)"
function format.share(part, whole)
   local percent = whole > 0 and 100 * part / whole or 0
   local digits = percent > 0 and percent < 1 and "%.2f" or "%.1f"
   return ("%s of %s (" .. digits .. " %%)"):format(format.count(part), format.count(whole), percent)
end

-- A learning rate without needless zeros: 0.01, 0.0033, 3e-05.
function format.rate(rate)
   if rate ~= 0 and math.abs(rate) < 1e-4 then
      return ("%.2g"):format(rate)
   end
   return (("%.4f"):format(rate):gsub("0+$", ""):gsub("%.$", ".0"))
end

-- A learning rate as wide as its neighbours, for lines below one another: 0.0100, 0.0033, 3e-05.
function format.even_rate(rate)
   return rate ~= 0 and math.abs(rate) < 1e-4 and format.rate(rate) or ("%.4f"):format(rate)
end

-- "1 photo", "300 photos"
function format.plural(count, noun, plural)
   return ("%s %s"):format(format.count(count), count == 1 and noun or plural or noun .. "s")
end

return format
