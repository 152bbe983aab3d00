-- Text from files and recipes, made safe for HTML and SVG.

local core = require "graft.core"

local markup = {}

local named = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Control characters and broken UTF-8 are made visible (\x1b), and nothing in it opens a tag or ends an attribute.
function markup.escape(text)
   return (core.printable(tostring(text)):gsub("[&<>\"']", named))
end

-- At most `most` characters of a UTF-8 text, the last one an ellipsis where something was cut. The middle goes, since file
-- names tell themselves apart at both ends.
function markup.shorten(text, most)
   text = core.printable(tostring(text))
   local length = utf8.len(text) or #text
   if length <= most then
      return text
   end
   local head = (most - 1 + 1) // 2
   local tail = most - 1 - head
   local first = text:sub(1, utf8.offset(text, head + 1) - 1)
   return first .. "…" .. (tail > 0 and text:sub(utf8.offset(text, -tail)) or "")
end

return markup
