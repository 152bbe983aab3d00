-- The reference as a manual page, graft.1 (man(7) macros): `graft help --man`. The command line in full, and where the rest is.

local core = require "graft.core"
local reference = require "graft.reference"

local man = {}

-- Text as roff has it: a backslash, a hyphen that is one, and nothing that looks like a request at the start of a line.
local function plain(text)
   return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n([%.'])", "\n\\&%1"):gsub("^([%.'])", "\\&%1"))
end

local function argument(text)
   return '"' .. plain(text):gsub('"', '""') .. '"'
end

local function verbatim(text)
   return (".PP\n.in +4n\n.nf\n%s\n.fi\n.in"):format(plain((text:gsub("\n+$", ""))))
end

local function prose(source)
   local out = {}
   for block in (source:gsub("\n+$", "") .. "\n\n"):gmatch("(.-)\n\n+") do
      if block:find("^%s%s") then
         out[#out + 1] = verbatim(block)
      elseif block:find("^## ") then
         out[#out + 1] = ".SS " .. argument(block:sub(4))
      else
         for item in (block:gsub("\n%- ", "\0- ") .. "\0"):gmatch("(.-)\0") do
            local text = item:match("^%- (.*)$")
            out[#out + 1] = text and '.IP "\\(bu" 2\n' .. plain(text) or ".PP\n" .. plain(item)
         end
      end
   end
   return table.concat(out, "\n")
end

local function items(out, list)
   for _, item in ipairs(list) do
      out[#out + 1] = (".TP\n.B %s\n%s"):format(plain(item[1]), plain(item[2]))
   end
end

local function command(out, entry)
   out[#out + 1] = ".SS " .. argument(reference.signature(entry))
   out[#out + 1] = prose(entry.text):gsub("^%.PP\n", "")
   for _, option in ipairs(reference.command_options(entry)) do
      local default = option[3] ~= "" and ("; default %s"):format(option[3]) or ""
      out[#out + 1] = (".TP\n.B %s%s\n%s"):format(plain(option[1]), option[2] ~= "" and " \\fI" .. option[2] .. "\\fR" or "",
         plain(option[4] .. default))
   end
   local notes = entry.command and require("graft.commands." .. entry.command).notes
   out[#out + 1] = notes and prose(notes) or nil
   out[#out + 1] = entry.shell and verbatim(entry.shell) or nil
end

function man.text()
   local topic
   for _, one in ipairs(reference.topics()) do
      topic = one.environment and one or topic
   end
   local out = { ('.\\" Made by graft help --man\n.TH GRAFT 1 "" %s "User Commands"'):format(argument("Graft " .. core.version)),
      ".SH NAME\ngraft \\- teach a pretrained network your own photos\n.SH SYNOPSIS\n.nf" }
   for _, entry in ipairs(topic.entries) do
      out[#out + 1] = plain(reference.signature(entry))
   end
   out[#out + 1] = ".fi\n.SH DESCRIPTION"
   out[#out + 1] = prose("Graft teaches a pretrained network new classes on the processor: a Lua recipe says what to freeze, "
      .. "what to replace and at what rate each part learns.\n\n" .. topic.text
      .. "\n\ngraft help lists topics; graft help NAME explains any name of the Lua API.")
   out[#out + 1] = ".SH COMMANDS"
   for _, entry in ipairs(topic.entries) do
      command(out, entry)
   end
   out[#out + 1] = ".SH ENVIRONMENT"
   items(out, topic.environment)
   out[#out + 1] = ".SH FILES"
   items(out, topic.run_files)
   for _, page in ipairs(reference.pages()) do
      if page.name == "security" then
         out[#out + 1] = ".SH SECURITY\n" .. prose(page.text)
      end
   end
   out[#out + 1] = ".SH SEE ALSO\n.BR lua (1)"
   return table.concat(out, "\n") .. "\n"
end

return man
