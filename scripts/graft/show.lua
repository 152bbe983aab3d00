-- Values as the prompt prints them: sorted, in the width of the terminal, and never more than a screenful of one table.

local core = require "graft.core"
local format = require "graft.format"

local show = {}

local MOST_ITEMS = 100 -- of a list in lines
local MOST_ENTRIES = 40 -- of a table, one a line
local MOST_ROWS = 20 -- of records
local MOST_LINES = 60 -- of a table with all that is in it
local MOST_KEYS = 10000 -- that are looked at
local MOST_TEXT = 20000 -- bytes of a string
local DEPTH = 4

-- --- text ---

local function width_of(text)
   return utf8.len(text) or #text
end

-- Control characters made visible, except line ends and tabs.
function show.printable(text)
   return (text:gsub("%z", "\\0"):gsub("[^\n\t]+", core.printable))
end

-- The first characters of a line, at most `width`.
local function cut(text, width)
   if width_of(text) <= width then
      return text
   end
   local last = utf8.offset(text, math.max(width - 3, 1) + 1)
   return (last and text:sub(1, last - 1) or text:sub(1, math.max(width - 3, 1))) .. "..."
end

-- Where the lines that go on with this one begin: below the last of its columns that leaves enough room, else two columns
-- further in.
local function hanging(line, width)
   local column = line:match("^error: ") and 7 or #line:match("^%s*") + 2
   for place in line:gmatch("%S%s%s+()%S") do
      column = place - 1 <= width // 2 and place - 1 or column
   end
   return column
end

-- Long lines of a text broken at blanks.
function show.fold(text, width)
   return (text:gsub("[^\n]+", function(line)
      if width_of(line) <= width then
         return nil
      end
      local indent = hanging(line, width)
      local lines, current = {}, line:match("^%s*")
      local fresh = true -- nothing but the indent so far
      for gap, word in line:gmatch("(%s*)(%S+)") do
         local wide = width_of(word)
         if not fresh and width_of(current) + #gap + wide > width and wide <= width - indent then
            lines[#lines + 1], current, fresh = current, (" "):rep(indent), true
         end
         current, fresh = fresh and current .. word or current .. gap .. word, false
      end
      lines[#lines + 1] = current
      return table.concat(lines, "\n")
   end))
end

-- Rows as format.columns sets them, in the width of the terminal: the columns that `spare` lists are left out, one after the
-- other, until the rest fits. `width` nil: there is no terminal, and nothing is left out.
function show.columns(rows, align, indent, width, spare)
   local text = format.columns(rows, align, indent)
   for _, column in ipairs(width and spare or {}) do
      local widest = 0
      for line in text:gmatch("[^\n]+") do
         widest = math.max(widest, width_of(line))
      end
      if widest <= width then
         break
      end
      local fewer = {}
      for i, row in ipairs(rows) do
         fewer[i] = table.move(row, 1, #row, 1, {})
         table.remove(fewer[i], column)
      end
      rows, align = fewer, align:sub(1, column - 1) .. align:sub(column + 1)
      text = format.columns(rows, align, indent)
   end
   return text
end

-- Words in columns, read downwards, as many as fit. At most `rows` lines; the last one then says how many are left out.
function show.side_by_side(words, width, rows)
   local most = 1
   for _, word in ipairs(words) do
      most = math.max(most, width_of(word))
   end
   local across = math.max(1, (width + 2) // (most + 2))
   local height = math.min((#words + across - 1) // across, rows or math.huge)
   local lines, shown = {}, math.min(#words, height * across)
   for i = 1, shown do
      local row = (i - 1) % height + 1
      lines[row] = lines[row] or {}
      table.insert(lines[row], words[i])
   end
   return format.columns(lines) .. (shown < #words and ("\n... %d more"):format(#words - shown) or "")
end

-- --- what a value is ---

local function has_text(value)
   local meta = type(value) == "table" and getmetatable(value)
   return type(meta) == "table" and meta.__tostring ~= nil
end

-- "graft.fit" for the functions and tables that everybody knows, by value; nil for others.
local names

function show.name_of(value)
   if not names then
      names = {}
      local function add(space, name)
         names[space] = name
         for key, member in pairs(space) do
            if type(member) == "function" then
               names[member] = name .. "." .. key
            elseif name == "graft" and type(member) == "table" and not has_text(member) then
               add(member, "graft." .. key)
            end
         end
      end
      for name, member in pairs(_G) do
         if type(member) == "function" then
            names[member] = name
         end
      end
      for _, name in ipairs { "string", "table", "math", "os", "io", "coroutine", "utf8", "debug", "package" } do
         add(_G[name], name)
      end
      add(require "graft", "graft")
   end
   return names[value]
end

local function function_text(f)
   local name = show.name_of(f)
   if name then
      return "function " .. name
   end
   local info = debug.getinfo(f, "S")
   return info.linedefined > 0 and not info.source:find("^[=@]graft/")
      and ("function (%s:%d)"):format(info.short_src, info.linedefined) or "function"
end

-- Entries of a table beside its list part, sorted: {key, value} pairs, and whether there are more of them.
local function key_before(a, b)
   local kind_a, kind_b = type(a[1]), type(b[1])
   if kind_a ~= kind_b then
      return kind_a < kind_b
   elseif kind_a == "number" or kind_a == "string" then
      return a[1] < b[1]
   end
   return tostring(a[1]) < tostring(b[1])
end

local hidden = setmetatable({}, { __mode = "k" })

-- What a table holds now is not shown any more when the table is printed, unless it changes.
function show.hide(t)
   hidden[t] = {}
   for key, value in pairs(t) do
      hidden[t][key] = value
   end
end

local function other_entries(t, length)
   local list, more, known = {}, false, hidden[t] or {}
   for key, value in pairs(t) do
      if key == "_" and hidden[t] then -- the last result: it has been shown
         known[key] = value
      end
      if not (math.type(key) == "integer" and key >= 1 and key <= length) and not rawequal(known[key], value) then
         if #list == MOST_KEYS then
            more = true
            break
         end
         list[#list + 1] = { key, value }
      end
   end
   table.sort(list, key_before)
   return list, more
end

local function key_text(key)
   if type(key) == "string" then
      return key:match("^[%a_][%w_]*$") and key or ('["%s"]'):format(show.printable(key))
   end
   return "[" .. tostring(key) .. "]"
end

-- --- one line ---

local MOST_QUOTED = 200

-- A string in quotes; of one with more than `room` characters its beginning and its length.
local function quoted(text, room)
   room = math.min(room or MOST_QUOTED, MOST_QUOTED)
   if #text > 4 * room or width_of(text) > room then
      local size = ('..." (%s bytes)'):format(format.count(#text))
      local last = utf8.offset(text, math.max(room - #size, 10)) or math.max(room - #size, 10)
      return '"' .. core.printable((text:sub(1, last - 1):gsub("%z", "\\0"))) .. size
   end
   return '"' .. core.printable((text:gsub("%z", "\\0"))) .. '"'
end

-- Anything that is no plain table, as it stands inside of one.
local function word(value)
   if type(value) == "string" then
      return quoted(value)
   elseif type(value) == "function" then
      return function_text(value)
   elseif value ~= value then
      return "nan" -- not "-nan"
   elseif math.type(value) == "float" and math.abs(value) >= 1e-4 and math.abs(value) < 1e6 then
      local short = ("%.7g"):format(value) -- what float32 can tell
      return math.tointeger(value) and tostring(value) or short
   end
   local first, rest = show.printable(tostring(value)):match("^([^\n]*)(.*)$")
   return rest ~= "" and first .. " ..." or first
end

-- A table on one line of at most `room` columns; nil when it needs more. `above`: the tables that it stands in.
local function inline(value, room, above)
   if type(value) ~= "table" or has_text(value) then
      local text = word(value)
      return width_of(text) <= room and text or nil
   elseif above[value] then
      return "{...}"
   end
   local length, parts, used = rawlen(value), {}, 4
   local others, more = other_entries(value, length)
   if more or length + #others > room or above.depth >= 2 * DEPTH then
      return nil
   end
   above[value], above.depth = true, above.depth + 1
   local fits = true
   local function add(before, item)
      local text = inline(item, room - used - #before, above)
      fits = text ~= nil
      if fits then
         parts[#parts + 1] = before .. text
         used = used + width_of(parts[#parts]) + 2
      end
      return fits and used - 2 <= room
   end
   for i = 1, length do
      fits = fits and add("", rawget(value, i))
   end
   for _, entry in ipairs(others) do
      fits = fits and add(key_text(entry[1]) .. " = ", entry[2])
   end
   above[value], above.depth = nil, above.depth - 1
   if not fits then
      return nil
   end
   return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- --- several lines ---

local function count_text(t)
   local others, more = other_entries(t, rawlen(t))
   local count = rawlen(t) + #others
   return ("{ %s%s }"):format(more and "more than " or "", format.plural(count, "entry", "entries"))
end

local block

-- One entry below others: on a line when it fits, in an indented block otherwise.
local function entry_text(before, value, state, indent)
   local room = state.width - indent - #before - 1
   local text = inline(value, room, state.above)
   if not text then
      if type(value) ~= "table" or has_text(value) then
         text = type(value) == "string" and quoted(value, math.max(room - 2, 20)) or cut(word(value), math.max(room, 20))
      elseif state.above.depth >= DEPTH or state.lines >= MOST_LINES then
         text = count_text(value)
      else
         text = block(value, state, indent)
      end
   end
   return before .. text
end

-- Short scalars of one list, as many a line as fit.
local function paragraph(t, length, state, indent)
   local words, longest, numbers = {}, 0, true
   for i = 1, math.min(length, MOST_ITEMS) do
      local value = rawget(t, i)
      if type(value) == "table" or type(value) == "userdata" or type(value) == "function" then
         return nil
      end
      words[i], numbers = word(value), numbers and type(value) == "number"
      longest = math.max(longest, width_of(words[i]))
   end
   if longest > 30 then
      return nil
   end
   local across = math.max(1, (state.width - indent) // (longest + 2))
   local lines = {}
   for i = 1, #words, across do
      local row = {}
      for k = i, math.min(i + across - 1, #words) do
         local gap = (" "):rep(longest - width_of(words[k]))
         local comma = k < length and "," or ""
         row[#row + 1] = numbers and gap .. words[k] .. comma or words[k] .. comma .. gap
      end
      lines[#lines + 1] = (table.concat(row, " "):gsub("%s+$", ""))
   end
   if length > #words then
      lines[#lines + 1] = ("... %s more"):format(format.count(length - #words))
   end
   return lines
end

-- A table with one entry a line.
function block(t, state, indent)
   local inner, length = indent + 2, rawlen(t)
   local others, more = other_entries(t, length)
   local lines = length > 0 and paragraph(t, length, state, inner) or {}
   state.above[t], state.above.depth = true, state.above.depth + 1
   local shown, most = #lines > 0 and length or 0, #lines > 0 and 0 or math.min(length, MOST_ROWS)
   local function add(before, value)
      lines[#lines + 1] = entry_text(before, value, state, inner) .. ","
      state.lines = state.lines + 1
      shown = shown + 1
   end
   state.lines = state.lines + #lines
   for i = 1, most do
      if state.lines < MOST_LINES or i == 1 then
         add("", rawget(t, i))
      end
   end
   if shown < length then
      lines[#lines + 1] = ("... %s more"):format(format.count(length - shown))
   end
   local first = shown
   for i = 1, math.min(#others, MOST_ENTRIES) do
      if state.lines < MOST_LINES or i == 1 then
         add(key_text(others[i][1]) .. " = ", others[i][2])
      end
   end
   local left = #others - (shown - first)
   if left > 0 or more then
      lines[#lines + 1] = ("... %s%s more"):format(more and "at least " or "", format.count(left))
   end
   state.above[t], state.above.depth = nil, state.above.depth - 1
   local margin = "\n" .. (" "):rep(inner)
   return "{" .. margin .. table.concat(lines, margin):gsub(",$", "") .. "\n" .. (" "):rep(indent) .. "}"
end

-- --- tables of a known kind ---

-- {class=, p=} pairs, as net:predict gives them
local function is_prediction(value)
   if type(value) ~= "table" or rawlen(value) == 0 then
      return false
   end
   for i = 1, rawlen(value) do
      local item = rawget(value, i)
      if type(item) ~= "table" or type(rawget(item, "class")) ~= "string" or type(rawget(item, "p")) ~= "number" then
         return false
      end
   end
   return true
end

-- One row an image: the classes below one another, those that do not fit left out.
local function predictions(list, width)
   local rows, widths = {}, {}
   for i = 1, math.min(#list, MOST_ROWS) do
      rows[i] = {}
      for k, item in ipairs(list[i]) do
         rows[i][k] = ("%s %.2f"):format(core.printable(item.class), item.p)
         widths[k] = math.max(widths[k] or 0, width_of(rows[i][k]) + 3)
      end
   end
   local used, columns = 0, 0
   while widths[columns + 1] and (columns == 0 or used + widths[columns + 1] <= width) do
      columns = columns + 1
      used = used + widths[columns]
   end
   local lines = {}
   for i, row in ipairs(rows) do
      local words = {}
      for k = 1, math.min(columns, #row) do
         words[k] = row[k] .. (" "):rep(widths[k] - 3 - width_of(row[k]))
      end
      lines[i] = ("  " .. table.concat(words, "   ")):gsub("%s+$", "")
   end
   if #list > #rows then
      lines[#lines + 1] = ("... %s more"):format(format.count(#list - #rows))
   end
   return table.concat(lines, "\n")
end

-- Columns that come first, where they are there; the others follow by name.
local first_columns = { "fit", "name", "layer", "epoch", "class", "file", "reason", "kind", "train_loss", "val_loss",
   "val_accuracy" }

local function is_scalar(value)
   return type(value) == "number" or type(value) == "string" or type(value) == "boolean"
end

-- The names of the columns of a list of records; nil when it is none.
local function columns_of(list, length)
   local seen, names_seen = {}, {}
   for i = 1, length do
      local record = rawget(list, i)
      if type(record) ~= "table" or has_text(record) or rawlen(record) > 0 or next(record) == nil then
         return nil
      end
      for key, value in next, record do
         if type(key) ~= "string" or not is_scalar(value) then
            return nil
         elseif not seen[key] then
            seen[key] = true
            names_seen[#names_seen + 1] = key
         end
      end
   end
   table.sort(names_seen)
   local columns = {}
   for _, name in ipairs(first_columns) do
      if seen[name] then
         columns[#columns + 1], seen[name] = name, nil
      end
   end
   for _, name in ipairs(names_seen) do
      if seen[name] then
         columns[#columns + 1] = name
      end
   end
   return columns
end

-- How the numbers of one column are written: whole, with four digits after the point, or by their size.
local function number_style(values)
   local whole, even = true, true
   for _, value in ipairs(values) do
      local size = math.abs(value)
      whole = whole and math.tointeger(value) ~= nil
      even = even and (size == 0 or (size >= 1e-3 and size < 1e4))
   end
   return whole and "%d" or even and "%.4f" or "%.4g"
end

local function column_cells(list, count, name)
   local numbers, cells, aligned = {}, {}, true
   for i = 1, count do
      local value = rawget(rawget(list, i), name)
      if type(value) == "number" then
         numbers[#numbers + 1] = value
      elseif value ~= nil then
         aligned = false
      end
   end
   local style = number_style(numbers)
   for i = 1, count do
      local value = rawget(rawget(list, i), name)
      cells[i] = value == nil and "" or type(value) == "number"
         and style:format(style == "%d" and math.tointeger(value) or value) or show.printable(tostring(value)):gsub("%s", " ")
   end
   return cells, aligned and #numbers > 0
end

-- A list of records as a table with a header; columns that do not fit are named below.
local function records(list, length, width)
   local columns = columns_of(list, math.min(length, MOST_KEYS))
   if not columns then
      return nil
   end
   local count, rows, align, left_out, used = math.min(length, MOST_ROWS), { {} }, "", {}, 2
   for i = 1, count do
      rows[i + 1] = {}
   end
   for k, name in ipairs(columns) do
      local cells, numbers = column_cells(list, count, name)
      local widest = width_of(name)
      for i, cell in ipairs(cells) do
         cells[i] = cut(cell, math.max(20, width - 4))
         widest = math.max(widest, width_of(cells[i]))
      end
      if k > 1 and used + widest > width then
         left_out[#left_out + 1] = name
      else
         used, align = used + widest + 2, align .. (numbers and "r" or "l")
         table.insert(rows[1], name)
         for i, cell in ipairs(cells) do
            table.insert(rows[i + 1], cell)
         end
      end
   end
   local text = format.columns(rows, align, "  ")
   if length > count then
      text = text .. ("\n  ... %s more"):format(format.count(length - count))
   end
   return text .. (#left_out > 0 and show.fold("\n  also: " .. table.concat(left_out, ", "), width) or "")
end

-- Lists of numbers that are equally long, as a grid.
local function matrix(list, length, width)
   local across, all = nil, {}
   for i = 1, length do
      local row = rawget(list, i)
      if type(row) ~= "table" or has_text(row) or rawlen(row) == 0 or (across and rawlen(row) ~= across) then
         return nil
      end
      across = rawlen(row)
      for k, value in next, row do
         if type(value) ~= "number" or math.type(k) ~= "integer" then
            return nil
         elseif #all < MOST_KEYS then
            all[#all + 1] = value
         end
      end
   end
   local style, rows = number_style(all), {}
   for i = 1, math.min(length, MOST_ROWS) do
      rows[i] = {}
      for k = 1, math.min(across, MOST_ITEMS) do
         local value = rawget(rawget(list, i), k)
         rows[i][k] = style:format(style == "%d" and math.tointeger(value) or value)
      end
   end
   local text = format.columns(rows, ("r"):rep(across), "  ")
   if width_of(text:match("^[^\n]*")) > width or across > MOST_ITEMS then
      return nil
   end
   return text .. (length > #rows and ("\n  ... %s more"):format(format.count(length - #rows)) or "")
end

-- What holds functions for the most part: their names side by side.
local function namespace(t, width)
   local others = other_entries(t, 0)
   local words, functions = {}, 0
   for i, entry in ipairs(others) do
      local key, value = entry[1], entry[2]
      if type(key) ~= "string" then
         return nil
      end
      functions = functions + (type(value) == "function" and 1 or 0)
      words[i] = type(value) == "function" and key or type(value) == "table" and not has_text(value) and key .. ".NAME"
         or cut(key .. " = " .. word(value), 40)
   end
   if functions < 3 or functions * 4 < #words * 3 then
      return nil
   end
   local name = show.name_of(t)
   local title = name and ("%s.NAME%s\n"):format(name, name:find("^graft")
      and ('; help "%s.%s" explains one of them'):format(name, words[1]:match("^[%w_]+")) or "") or ""
   return show.fold(title, width) .. "  " .. show.side_by_side(words, width - 2):gsub("\n", "\n  ")
end

local function table_text(value, width)
   local length = rawlen(value)
   if length > 0 and other_entries(value, length)[1] == nil then
      if is_prediction(value) then
         return predictions({ value }, width)
      elseif is_prediction(rawget(value, 1)) and is_prediction(rawget(value, length)) then
         return predictions(value, width)
      end
      local text = (length > 1 or not inline(value, width, { depth = 0 }))
         and (records(value, length, width) or matrix(value, length, width))
      if text then
         return text
      end
   end
   if type(rawget(value, "confusion")) == "table" and rawget(value, "accuracy") then
      return (require("graft.report").text(value):gsub("\n$", ""))
   end
   return length == 0 and namespace(value, width) or inline(value, width, { depth = 0 })
      or block(value, { width = width, lines = 0, above = { depth = 0 } }, 0)
end

-- --- what the prompt calls ---

local function string_text(text)
   if #text > MOST_TEXT then
      local last = utf8.offset(text, 0, MOST_TEXT) or MOST_TEXT + 1
      return show.printable(text:sub(1, last - 1))
         .. ("\n... the first of %s bytes; print(_) shows all of them"):format(format.count(#text))
   end
   return show.printable(text)
end

-- The text of one value. `width`: columns of the terminal.
function show.value(value, width)
   if type(value) == "string" then
      return string_text(value)
   elseif type(value) == "function" then
      return function_text(value)
   elseif type(value) == "userdata" or has_text(value) then
      return show.fold(show.printable(tostring(value)), width)
   elseif type(value) == "table" then
      return table_text(value, width)
   end
   return value ~= value and "nan" or tostring(value)
end

-- The text of several results: side by side when they are short words, else one a line.
function show.values(values, width)
   local texts, apart = {}, false
   for i = 1, values.n do
      texts[i] = show.value(values[i], width)
      apart = apart or type(values[i]) == "table" or texts[i]:find("\n", 1, true)
   end
   return table.concat(texts, apart and "\n" or "\t")
end

return show
