-- graft.image.grid and graft.image.overlay: images side by side, and a map laid over a photo.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local network = require "graft.network"

local montage = {}

local MOST = 4096 -- tiles
local FIT = 160 -- pixels of the longer side, where tiles differ in size
local SMALL = 48 -- pixels: tiles smaller than that are enlarged

local function image_of(image, who)
   if type(image) == "table" and type(rawget(image, "file")) == "string" then
      image = image.file
   end
   if type(image) == "string" then
      return core.image_load(image)
   elseif type(image) ~= "userdata" or image == core.null or type(image.shape) ~= "table" then
      core.error("option", ("%s: expected a path or a tensor, got %s"):format(who, type(image)))
   end
   local shape = image.shape
   if #shape == 2 then
      return image:unsqueeze(1), true
   elseif #shape ~= 3 or (shape[1] ~= 1 and shape[1] ~= 3) then
      core.error("shape", ("%s: an image is [3,H,W], [1,H,W] or [H,W], got %s"):format(who, format.shape(shape)))
   end
   return image, shape[1] == 1
end

-- The tiles of what a user gave, and whether they are maps, whose numbers have no limits of their own.
local function tiles_of(images, who)
   local tiles, maps = {}, false
   if type(images) == "table" and not network.is(images) then
      for i, image in ipairs(strict.list(images, { "string", "userdata", "table" }, who .. ": the images")) do
         local grey
         tiles[i], grey = image_of(image, who)
         maps = maps or grey
      end
   elseif type(images) == "userdata" and images ~= core.null and type(images.shape) == "table" then
      local shape = images.shape
      if #shape ~= 4 and #shape ~= 3 then
         core.error("shape", ("%s: expected images [N,3,H,W] or maps [1,C,H,W] or [C,H,W], got %s"):format(who,
            format.shape(shape)))
      end
      maps = #shape == 3 or (shape[2] ~= 3 and shape[2] ~= 1)
      if maps and #shape == 4 and shape[1] ~= 1 then
         core.error("shape", ("%s: maps are those of one photo, got %s; x:slice(1, 1, 1) is its first"):format(who,
            format.shape(shape)))
      elseif maps then
         images = #shape == 4 and images[1] or images
      end
      maps = maps or shape[2] == 1
      for i = 1, math.min(images.shape[1], MOST + 1) do
         tiles[i] = maps and #images.shape == 3 and images:slice(1, i, i) or images[i]
      end
   else
      core.error("option", ("%s: expected a list of images or a tensor, got %s"):format(who, type(images)))
   end
   if #tiles == 0 or #tiles > MOST then
      core.error("option", ("%s: expected 1 to %s images, got %s"):format(who, format.count(MOST),
         #tiles == 0 and "none" or "more"))
   end
   return tiles, maps
end

-- Numbers from the smallest to the largest become 0 to 1.
local function stretched(tile, low, high)
   if not (high - low > 0 and high - low < math.huge) then
      return tile * 0
   end
   return (tile - low) / (high - low)
end

local function normalize(tiles, mode)
   local low, high = math.huge, -math.huge
   if mode == "all" then
      for _, tile in ipairs(tiles) do
         low, high = math.min(low, tile:min()), math.max(high, tile:max())
      end
   end
   for i, tile in ipairs(tiles) do
      if mode == "all" then
         tiles[i] = stretched(tile, low, high)
      else
         tiles[i] = stretched(tile, tile:min(), tile:max())
      end
   end
end

-- An image with its longer side reduced or enlarged to `side`.
function montage.fit(image, side)
   local h, w = image.shape[2], image.shape[3]
   local scale = side / math.max(h, w)
   return core.image_resize(image, math.max(1, math.floor(h * scale + 0.5)), math.max(1, math.floor(w * scale + 0.5)))
end

-- The size of a cell; tiles of several sizes are made to fit it.
local function cell_of(tiles)
   local h, w = tiles[1].shape[2], tiles[1].shape[3]
   for _, tile in ipairs(tiles) do
      if tile.shape[2] ~= h or tile.shape[3] ~= w then
         for i, other in ipairs(tiles) do
            tiles[i] = montage.fit(other:clamp(0, 1), FIT)
         end
         return FIT, FIT
      end
   end
   return h, w
end

local grid_keys = { columns = "integer", gap = "integer", scale = "integer", normalize = { "string", "boolean" } }

local function positive(options, key, otherwise, least, who)
   local value = options[key] or otherwise
   if value < least or value > 1000 then
      core.error("option", ("%s: %s must be %d to 1000, got %d"):format(who, key, least, value))
   end
   return value
end

-- graft.image.grid(images, {columns=, gap=, scale=, normalize="each"|"all"|false}) -> [3,H,W]
function montage.grid(images, options)
   local who = "graft.image.grid"
   options = strict.options(options, who, grid_keys)
   local tiles, maps = tiles_of(images, who)
   local mode = options.normalize
   if mode == nil then
      mode = maps and "each" or false
   end
   if mode ~= "each" and mode ~= "all" and mode ~= false then
      core.error("option", ('%s: normalize must be "each", "all" or false, got %s'):format(who, tostring(mode)))
   end
   if mode then
      normalize(tiles, mode)
   end
   local h, w = cell_of(tiles)
   local scale = positive(options, "scale", math.max(1, math.ceil(SMALL / math.max(h, w))), 1, who)
   local gap = positive(options, "gap", 2, 0, who)
   local cell_h, cell_w = h * scale + gap, w * scale + gap
   local columns = math.min(#tiles, positive(options, "columns", math.ceil(math.sqrt(#tiles * cell_h / cell_w)), 1, who))
   local rows = (#tiles + columns - 1) // columns
   local height, width = rows * cell_h + gap, columns * cell_w + gap
   if height > 16384 or width > 16384 or height * width > 32000000 then
      core.error("limit", ("%s: %d images make a picture of %dx%d pixels; fewer columns, a smaller scale or fewer images"):format(
         who, #tiles, width, height))
   end
   local canvas = core.tensor.ones(3, height, width)
   for i, tile in ipairs(tiles) do
      local row, column = (i - 1) // columns, (i - 1) % columns
      core.image_paste(canvas, tile, row * cell_h + gap + (h - tile.shape[2]) * scale // 2 + 1,
         column * cell_w + gap + (w - tile.shape[3]) * scale // 2 + 1, scale)
   end
   return canvas
end

-- graft.image.overlay(image, map, {net=, strength=0.6}) -> [3,H,W]: the map's colours over the photo in grey.
function montage.overlay(image, map, options)
   local who = "graft.image.overlay"
   options = strict.options(options, who, { net = "table", strength = "number" })
   local strength = options.strength or 0.6
   if not (strength >= 0 and strength <= 1) then
      core.error("option", ("%s: strength must be 0 to 1, got %g"):format(who, strength))
   end
   if type(map) ~= "userdata" or map == core.null or type(map.shape) ~= "table" or #map.shape ~= 2 then
      core.error("shape", who .. ": expected a map [H,W] of net:grad_cam or net:occlusion")
   end
   if options.net then
      image = require("graft.looking").seen(options.net, image)
   else
      image = image_of(image, who)
   end
   if image.shape[1] == 1 then
      image = image:expand(3, image.shape[2], image.shape[3]):contiguous()
   end
   local h, w = map.shape[1], map.shape[2]
   if image.shape[2] ~= h or image.shape[3] ~= w then
      core.error("shape", ("%s: the photo is %dx%d and the map %dx%d, of the part that the network saw; say net = NET to lay it "
         .. "over that part"):format(who, image.shape[3], image.shape[2], w, h))
   end
   return core.image_overlay(image, map, map:max(), strength)
end

return montage
