-- The page of pictures of one's own: graft.report({ title=, pictures={ {title=, text=, image=, images=, columns=}, ... } },
-- path).

local core = require "graft.core"
local page = require "graft.page"
local strict = require "graft.strict"

local WHO = "graft.report"
local MOST = 500 -- pictures
local COLUMNS = 12 -- of small pictures that belong together
local picture_keys = { title = "string", text = "string", image = { "string", "userdata" }, images = "table",
   width = "integer", columns = "integer" }
local small_keys = { image = { "string", "userdata" }, caption = "string" }

local function small(picture)
   picture = strict.options(picture, WHO .. ": images", small_keys)
   if not picture.image then
      core.error("option", WHO .. ": an entry of images needs image =")
   end
   return ("<figure>%s<figcaption>%s</figcaption></figure>"):format(page.image(picture.image, { width = 224,
      alt = picture.caption }), page.escape(picture.caption or ""))
end

-- The opening tag of small pictures: as many in a row as fit, or rows of `columns`, which a narrow page breaks in equal parts.
local function album_tag(columns)
   if not columns then
      return '<div class="photos">'
   elseif columns < 1 or columns > COLUMNS then
      core.error("option", ("%s: columns must be 1 to %d, not %d"):format(WHO, COLUMNS, columns))
   end
   return ('<div class="photos rows" style="--n:%d;--few:%d">'):format(columns, columns % 3 == 0 and 3 or columns % 2 == 0 and 2
      or columns)
end

local function section(picture, number)
   picture = strict.options(picture, WHO .. ": pictures", picture_keys)
   local parts = {}
   if picture.text then
      parts[1] = page.paragraph(picture.text)
   end
   if picture.image then
      parts[#parts + 1] = page.image(picture.image, { width = picture.width or 1000, quality = 88, alt = picture.title })
   end
   if picture.images then
      local list = {}
      for i, one in ipairs(strict.list(picture.images, "table", WHO .. ": images")) do
         list[i] = small(one)
      end
      parts[#parts + 1] = album_tag(picture.columns) .. table.concat(list, "\n") .. "</div>"
   end
   return { id = "picture-" .. number, title = picture.title or ("Picture %d"):format(number), html = table.concat(parts, "\n") }
end

return function(album)
   album = strict.options(album, WHO, { title = "string", subtitle = "string", pictures = "table" })
   local pictures = strict.list(album.pictures, "table", WHO .. ": pictures")
   if #pictures == 0 or #pictures > MOST then
      core.error("option", ("%s: expected 1 to %d pictures, got %d"):format(WHO, MOST, #pictures))
   end
   local sections, lines = {}, { album.title or "Pictures" }
   for i, picture in ipairs(pictures) do
      sections[i] = section(picture, i)
      lines[#lines + 1] = ("%s%s"):format(sections[i].title, picture.text and "\n   " .. picture.text or "")
   end
   return { title = album.title or "Pictures", subtitle = album.subtitle, sections = sections,
      text = core.printable(table.concat(lines, "\n\n")) .. "\n" }
end
