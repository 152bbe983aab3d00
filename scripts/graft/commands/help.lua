-- graft help [TOPIC]: pages, topics, commands and names of the reference; and the reference as files.

local core = require "graft.core"
local format = require "graft.format"
local options = require "graft.options"
local reference = require "graft.reference"

local command = {}

command.options = {
   markdown = { type = "boolean", help = "prints the whole reference as a Markdown page" },
   man = { type = "boolean", help = "prints the manual page, graft.1" },
   luals = { type = "boolean", help = "prints graft.lua, a stub with types for the Lua language server" },
   completion = { type = "choice", choices = { "bash", "zsh" }, help = "prints what completes graft's words in that shell" },
}

-- Pages and topics, sorted.
local function topic_names()
   local list = {}
   for _, page in ipairs(reference.pages()) do
      list[#list + 1] = page.name
   end
   for _, topic in ipairs(reference.topics()) do
      list[#list + 1] = topic.entries and topic.name or nil
   end
   table.sort(list)
   return list
end
command.topics = topic_names

-- All that there is help on: topics, and the names of the reference.
function command.names()
   local list = topic_names()
   local named = reference.names()
   table.move(named, 1, #named, #list + 1, list)
   return list
end

-- A page, or a topic with a line for each of its entries; nil when it is neither.
local function topic_text(name, width)
   local prose = require("graft.reference_text").prose
   for _, page in ipairs(reference.pages()) do
      if page.name == name then
         local text = type(page.text) == "function" and page.text(width) or page.text
         return page.title .. "\n\n" .. prose(text, width, "")
      end
   end
   for _, topic in ipairs(reference.topics()) do
      if topic.name == name and topic.entries then
         return ("%s\n\n%s\n\n%s\n\nMore on each: graft help NAME"):format(topic.title, prose(topic.text, width, ""),
            reference.list(topic.entries, width))
      end
   end
end

-- The text of a topic, for the command and for the prompt. A function of Graft stands for its name, a value for all that it
-- can do.
function command.text(topic)
   if topic == nil then
      return require("graft.cli").usage()
   elseif type(topic) ~= "string" then
      local found = reference.of_value(topic)
      if #found > 1 then
         return reference.list(found)
      end
      topic = found[1] and found[1].name
         or core.error("option", "help takes a topic or a name in quotes: help \"start\", help \"net:freeze\"")
   end
   local parts = {}
   parts[1] = topic_text(topic, format.width())
   parts[#parts + 1] = require("graft.cli").command_help(topic)
   parts[#parts + 1] = reference.text(topic)
   if #parts > 0 then
      return table.concat(parts, "\n\n")
   end
   local near = core.nearest(topic, command.names())
   options.usage(("there is no help on %q%s"):format(topic, near and ("; nearest: " .. near)
      or "\n" .. table.concat(format.wrap("topics: " .. table.concat(topic_names(), ", "), format.width() - 8), "\n")), near)
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft help")
   for _, form in ipairs { "markdown", "man", "luals" } do
      if given[form] then
         io.stdout:write(require("graft.reference_" .. form).text())
         return 0
      end
   end
   if given.completion then
      print(require("graft.completion").text(given.completion))
      return 0
   end
   print(command.text(rest[1] and table.concat(rest, " ")))
   return 0
end

return command
