-- graft.image.show: a photo or the feature maps of one photo, in the terminal.

local core = require "graft.core"
local output = require "graft.output"
local format = require "graft.format"
local data = require "graft.data"

local picture = {}

local WHO = "graft.image.show"
local WIDEST = 80 -- columns of a photo
local LARGEST = 16 -- pixels of a map's longer side

-- How colours can be told to this terminal, after NO_COLOR (https://no-color.org), COLORTERM and TERM.
function picture.palette(terminal)
   local function is(name)
      local value = os.getenv and os.getenv(name) -- a host may have taken it away
      return value ~= "" and value or nil
   end
   local kind, colours = is "TERM" or "", is "COLORTERM" or ""
   if not terminal or is "NO_COLOR" or kind == "" or kind:find("^vt%d") or kind:find("mono$") then
      local background = (is "COLORFGBG" or ""):match("(%d+)$")
      return (background == "7" or background == "15") and "light" or "dark"
   end
   local many = colours == "truecolor" or colours == "24bit" or kind:find("direct$") or kind:find("truecolor$")
   return many and "24bit" or "256"
end

local function refuse(shape)
   core.error("shape", ("%s: expected a path, a photo [3,H,W], or feature maps [C,H,W] of one photo, got a tensor %s%s"):format(
      WHO, format.shape(shape), #shape == 4 and "; x[1] is its first photo" or ""))
end

-- A tensor as [C,H,W].
local function planes_of(x)
   local shape = x.shape
   if #shape == 4 and shape[1] == 1 then
      x = x[1]
   elseif #shape == 2 and shape[1] > 1 then
      x = x:unsqueeze(1)
   elseif #shape ~= 3 then
      refuse(shape)
   end
   for _, size in ipairs(x.shape) do
      if size < 1 then
         refuse(shape)
      end
   end
   return x
end

local function number(value)
   return (("%.2f"):format(value):gsub("^%-(0%.00)$", "%1"))
end

-- The first maps in a grid as high as the screen, and below it what black and white stand for.
local function maps(x, columns, lines, palette)
   local count, h, w = table.unpack(x.shape)
   local scale = math.min(1, LARGEST / math.max(h, w))
   local tile_w, tile_h = math.max(1, math.floor(w * scale + 0.5)), math.max(1, math.floor(h * scale + 0.5))
   local across = math.min(count, math.max(1, (columns + 1) // (tile_w + 1)))
   local down = math.max(1, (lines - 4) // ((tile_h + 3) // 2))
   local shown = math.min(count, across * down, 1000)
   local part = x:slice(1, 1, shown)
   local low, high = part:min(), part:max()
   if low ~= low or high - low == math.huge then
      low, high = 0, 1 -- what is not finite is told when the tensor is printed
   end
   local ramp = core.tensor.linspace(0, 1, 24):reshape(1, 1, 24)
   local bar = core.image_maps(ramp, 1, 1, 24, 2, 0, 1, palette):gsub("\n$", "")
   local which = shown == count and format.plural(count, "map") or ("maps 1 to %d of %s"):format(shown, format.count(count))
   return core.image_maps(part, shown, across, tile_w, tile_h, low, high, palette)
      .. ("  %s, %dx%d   %s %s %s\n"):format(which, w, h, number(low), bar, number(high))
end

-- A photo, and in which range its numbers lie when that is not 0 to 1.
local function photo(x, columns, lines, palette)
   local low, high = x:min(), x:max()
   local note = ""
   if (low < -0.01 or high > 1.01) and high - low < math.huge then
      x = (x - low) / (high - low)
      note = ("  black is %s, white %s\n"):format(number(low), number(high))
   end
   return core.image_blocks(x, math.min(columns, WIDEST), math.max(lines - 3, 4), palette) .. note
end

-- The text of a tensor that is a photo or maps.
function picture.text(x, columns, lines, palette)
   x = planes_of(x)
   local channels = x.shape[1]
   local grey = channels == 1 and x:min() >= 0 and x:max() <= 1
   return (channels == 3 or grey) and photo(x, columns, lines, palette) or maps(x, columns, lines, palette)
end

-- graft.image.show(path, tensor, or a sample such as d.train[1]). Below a file stands what it is.
function picture.show(image)
   local columns, lines = core.terminal("stdout")
   local palette = picture.palette(columns ~= nil)
   if type(image) == "table" and type(rawget(image, "file")) == "string" then
      image = image.file
   end
   if type(image) ~= "string" then
      if type(image) ~= "userdata" or image == core.null or type(image.shape) ~= "table" then
         core.error("option", ("%s: expected a path, a photo [3,H,W], or feature maps [C,H,W] of one photo, got %s"):format(WHO,
            type(image)))
      end
      output.raw(picture.text(image, columns or WIDEST, lines or 40, palette))
      return
   end
   local pixels = core.image_load(image)
   local class = data.class_of(image)
   output.raw(core.image_blocks(pixels, math.min(columns or WIDEST, WIDEST), math.max((lines or 40) - 3, 4), palette))
   io.stdout:write("  ", class and core.printable(class) .. "   " or "", core.printable(image),
      ("   %dx%d\n"):format(pixels.shape[3], pixels.shape[2]))
end

return picture
