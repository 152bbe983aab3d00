-- The reference in a terminal: entries and topics, wrapped to its width.

local format = require "graft.format"
local reference = require "graft.reference"

local text = {}

-- Paragraphs, lists and verbatim parts: lines that are indented stay as they are, "## " begins a heading, "- " an item.
function text.prose(source, width, indent)
   local blocks = {}
   for block in (source:gsub("\n+$", "") .. "\n\n"):gmatch("(.-)\n\n+") do
      local lines = {}
      if block:find("^%s%s") then
         for line in (block .. "\n"):gmatch("(.-)\n") do
            lines[#lines + 1] = indent .. line
         end
      elseif block:find("^## ") then
         lines[1] = indent .. block:sub(4)
      else
         for item in (block:gsub("\n%- ", "\0- ") .. "\0"):gmatch("(.-)\0") do
            local hang = item:find("^%- ") and "  " or ""
            for i, line in ipairs(format.wrap(item, width - #indent - #hang)) do
               lines[#lines + 1] = indent .. (i > 1 and hang or "") .. line
            end
         end
      end
      blocks[#blocks + 1] = table.concat(lines, "\n")
   end
   return table.concat(blocks, "\n\n")
end

local function default_words(default)
   return default == "" and "-" or default
end

local function option_rows(list, rows, before)
   for _, option in ipairs(list) do
      local kind = reference.type_words(option[2])
      rows[#rows + 1] = { before .. option[1], kind, default_words(option[3]), option[4] }
      option_rows(option[5] or {}, rows, before .. option[1] .. ".")
   end
   return rows
end

-- Rows of fields; those of a table inside are "best.epoch".
local function field_rows(list, rows, before)
   for _, field in ipairs(list) do
      rows[#rows + 1] = { before .. field[1], reference.type_words(field[2]), field[3] }
      field_rows(field[4] or {}, rows, before .. field[1] .. ".")
   end
   return rows
end

local function section(parts, title, body)
   parts[#parts + 1] = ("  %s\n%s"):format(title, body)
end

local function verbatim(source, indent)
   return indent .. source:gsub("\n+$", ""):gsub("\n", "\n" .. indent)
end

-- One entry: how it is called, what it does, arguments, options, results, errors, an example.
function text.entry(entry, width)
   local parts = { reference.signature(entry), text.prose(entry.text, width, "  ") }
   if entry.arguments and #entry.arguments > 0 then
      section(parts, "arguments", format.table(option_rows(entry.arguments, {}, ""), width, "    "))
   end
   if entry.options then
      section(parts, entry.options_title or "options", format.table(option_rows(entry.options, {}, ""), width, "    "))
   end
   if entry.type then
      section(parts, "type", "    " .. reference.type_words(entry.type))
   end
   local rows = {}
   for i, value in ipairs(entry.returns or {}) do
      rows[i] = { reference.type_words(value[1]), value[2] }
   end
   if #rows > 0 then
      section(parts, "returns", format.table(rows, width, "    "))
   end
   if entry.fields then
      section(parts, "fields", format.table(field_rows(entry.fields, {}, ""), width, "    "))
   end
   if entry.errors then
      local rows_of_errors = {}
      for i, failure in ipairs(entry.errors) do
         rows_of_errors[i] = { failure[1], failure[2] }
      end
      section(parts, "errors", format.table(rows_of_errors, width, "    "))
   end
   if entry.example then
      section(parts, "example", verbatim(entry.example, "    "))
   end
   if entry.shell then
      section(parts, "example", verbatim(entry.shell, "    "))
   end
   if entry.see then
      parts[#parts + 1] = "  see also  " .. table.concat(entry.see, ", ")
   end
   return table.concat(parts, "\n\n")
end

return text
