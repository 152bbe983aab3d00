-- The page of a map of photos: the picture, what its colours mean, and how it was made.

local core = require "graft.core"
local format = require "graft.format"
local page = require "graft.page"
local feature_map = require "graft.feature_map"

-- The classes with their colours and counts.
local function legend(map)
   local colours, counts, rows, seen = feature_map.colours(map), {}, {}, {}
   for _, class in ipairs(map.classes) do
      counts[class] = (counts[class] or 0) + 1
   end
   for _, class in ipairs(map.classes) do
      if not seen[class] then
         seen[class] = true
         local c = colours[class]
         rows[#rows + 1] = { { html = "", style = ("background:rgb(%d,%d,%d);min-width:2rem"):format(c[1], c[2], c[3]) }, class,
            format.count(counts[class]) }
      end
   end
   table.sort(rows, function(a, b)
      return a[2] < b[2]
   end)
   return page.table { head = { "colour", "class", "photos" }, align = "llr", rows = rows }
end

local how = {
   pca = "Two directions in which the features vary most (principal components): distances keep their meaning, and what other "
      .. "directions hold is not seen.",
   tsne = "t-SNE keeps neighbours together: groups show, but how far apart they are and how wide means nothing.",
}

return function(map)
   local text = tostring(map)
   return { title = "Map of " .. format.plural(#map, "photo"), subtitle = text, text = core.printable(text) .. "\n", sections = {
      { id = "map", title = "Photos that the network finds alike are near each other", html = page.paragraph(how[map.method]
         .. " Each photo is as near to its point as there is a free place, in a frame of its class's colour.")
         .. page.image(map:image {}, { width = 1200, quality = 85, alt = text }) },
      { id = "classes", title = "Classes", html = legend(map) },
   } }
end
