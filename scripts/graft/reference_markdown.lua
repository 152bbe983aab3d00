-- The reference as one Markdown page: `graft help --markdown`, `make docs`.

local core = require "graft.core"
local reference = require "graft.reference"

local markdown = {}

-- A cell of a table.
local function cell(text)
   return (text:gsub("|", "\\|"):gsub("\n+", " "))
end

local function rows(out, head, list)
   if #list == 0 then
      return
   end
   out[#out + 1] = "| " .. table.concat(head, " | ") .. " |\n" .. ("|---"):rep(#head) .. "|"
   for _, row in ipairs(list) do
      local cells = {}
      for i in ipairs(head) do
         cells[i] = cell(row[i] or "")
      end
      out[#out] = out[#out] .. "\n| " .. table.concat(cells, " | ") .. " |"
   end
end

local function fenced(text, language)
   return ("```%s\n%s\n```"):format(language, (text:gsub("\n+$", "")))
end

local function code(text)
   return text == "" and "" or "`" .. text .. "`"
end

-- Texts of the reference are nearly Markdown: verbatim parts are fenced, headings go below `level`.
local function prose(source, level)
   local blocks = {}
   for block in (source:gsub("\n+$", "") .. "\n\n"):gmatch("(.-)\n\n+") do
      local part = block
      if block:find("^%s%s") then
         part = fenced(block, "")
      elseif block:find("^## ") then
         part = ("#"):rep(level + 1) .. block:sub(3)
      end
      blocks[#blocks + 1] = part
   end
   return table.concat(blocks, "\n\n")
end

local function option_rows(list, all, before)
   for _, option in ipairs(list) do
      all[#all + 1] = { code(before .. option[1]), reference.type_words(option[2]),
         option[3] == "required" and option[3] or code(option[3]), option[4] }
      option_rows(option[5] or {}, all, before .. option[1] .. ".")
   end
   return all
end

local function entry_text(entry)
   local out = { "### " .. code(reference.signature(entry)), prose(entry.text, 3) }
   rows(out, { "argument", "type", "default", "" }, option_rows(entry.arguments or {}, {}, ""))
   rows(out, { entry.options_title or "option", "type", "default", "" }, option_rows(entry.options or {}, {}, ""))
   local list = {}
   for i, option in ipairs(reference.command_options(entry)) do
      list[i] = { code((option[1] .. " " .. option[2]):gsub(" $", "")), option[3] ~= "" and code(option[3]) or "", option[4] }
   end
   rows(out, { "option", "default", "" }, list)
   local notes = entry.command and require("graft.commands." .. entry.command).notes
   out[#out + 1] = notes and prose(notes, 3) or nil
   out[#out + 1] = entry.type and "Type: " .. reference.type_words(entry.type) .. "." or nil
   list = {}
   for i, value in ipairs(entry.returns or {}) do
      list[i] = { reference.type_words(value[1]), value[2] }
   end
   rows(out, { "returns", "" }, list)
   list = {}
   for i, field in ipairs(entry.fields or {}) do
      list[i] = { code(field[1]), reference.type_words(field[2]), field[3] }
   end
   rows(out, { "field", "type", "" }, list)
   list = {}
   for i, failure in ipairs(entry.errors or {}) do
      list[i] = { failure[1], failure[2] }
   end
   rows(out, { "error", "when" }, list)
   out[#out + 1] = entry.example and fenced(entry.example, "lua") or nil
   out[#out + 1] = entry.shell and fenced(entry.shell, "sh") or nil
   if entry.see then
      local names = {}
      for i, name in ipairs(entry.see) do
         names[i] = code(name)
      end
      out[#out + 1] = "See also " .. table.concat(names, ", ") .. "."
   end
   return table.concat(out, "\n\n")
end

-- The heading's address on the page, as GitHub makes it.
local function anchor(title)
   return (title:lower():gsub("[^%w%- ]", ""):gsub(" ", "-"))
end

function markdown.text()
   local out, contents = {}, {}
   for _, topic in ipairs(reference.topics()) do
      contents[#contents + 1] = ("- [%s](#%s)"):format(topic.title, anchor(topic.title))
      out[#out + 1] = "## " .. topic.title
      out[#out + 1] = topic.text and prose(topic.text, 2) or nil
      for _, page in ipairs(topic.pages or {}) do
         contents[#contents + 1] = ("  - [%s](#%s)"):format(page.title, anchor(page.title))
         out[#out + 1] = "### " .. page.title
         out[#out + 1] = prose(type(page.text) == "function" and page.text() or page.text, 3)
      end
      for _, entry in ipairs(topic.entries or {}) do
         out[#out + 1] = entry_text(entry)
      end
   end
   return ("# Graft %s: the reference\n\nMade by `graft help --markdown` from what `graft help NAME` "
      .. "shows.\n\n%s\n\n%s\n"):format(
      core.version, table.concat(contents, "\n"), table.concat(out, "\n\n"))
end

return markdown
