-- The page of pictures of one's own: graft.report({ title=, pictures={ {title=, text=, image=, images=}, ... } }, path).

local core = require "graft.core"
local page = require "graft.page"
local strict = require "graft.strict"

local WHO = "graft.report"
local MOST = 500 -- pictures
local picture_keys = { title = "string", text = "string", image = { "string", "userdata" }, images = "table",
   width = "integer" }
local small_keys = { image = { "string", "userdata" }, caption = "string" }

local function small(picture)
   picture = strict.options(picture, WHO .. ": images", small_keys)
   if not picture.image then
      core.error("option", WHO .. ": an entry of images needs image =")
   end
   return ("<figure>%s<figcaption>%s</figcaption></figure>"):format(page.image(picture.image, { width = 224,
      alt = picture.caption }), page.escape(picture.caption or ""))
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
      parts[#parts + 1] = '<div class="photos">' .. table.concat(list, "\n") .. "</div>"
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
