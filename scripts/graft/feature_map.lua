-- graft.map: photos as points of a plane, near each other where the network finds them alike.

local core = require "graft.core"
local strict = require "graft.strict"
local format = require "graft.format"
local data = require "graft.data"
local network = require "graft.network"

local feature_map = {}

local MOST = 5000 -- photos for t-SNE
local DEFAULT = 30 -- perplexity

local Map = { __name = "graft.map" }
local states = setmetatable({}, { __mode = "k" })

function feature_map.is(value)
   return getmetatable(value) == Map
end

-- Okabe and Ito 2008: eight colours that people with any colour vision can tell apart.
local colours = { { 0, 114, 178 }, { 230, 159, 0 }, { 0, 158, 115 }, { 204, 121, 167 }, { 213, 94, 0 }, { 86, 180, 233 },
   { 240, 228, 66 }, { 90, 90, 90 } }

-- The names of the classes that occur, in the order of the set's classes or of their first photo.
local function names_of(classes)
   local names, seen = {}, {}
   for _, class in ipairs(classes) do
      if class and not seen[class] then
         seen[class] = true
         names[#names + 1] = class
      end
   end
   table.sort(names)
   return names
end

-- The colour of each class, as three numbers 0..255; more than eight classes begin anew.
function feature_map.colours(map)
   local state, result = states[map], {}
   for i, name in ipairs(state.names) do
      result[name] = colours[(i - 1) % #colours + 1]
   end
   return result
end

local function progress_of(count)
   local bar = require("graft.progress").bar("t-SNE", 1000)
   return bar, function(done, steps)
      bar:step(done - bar.done, ("%d of %d steps"):format(done, steps))
   end, ("t-SNE  %s placed"):format(format.plural(count, "photo"))
end

-- The features and what they are of: computed, or given with their set or the info of graft.embed.
local function features_of(subject, set, options, who)
   if network.is(subject) then
      local all, info = require("graft.embed").embed(subject, set, { at = options.at })
      return all, info.files, info.classes
   end
   if type(subject) ~= "userdata" or subject == core.null or type(subject.shape) ~= "table" or #subject.shape ~= 2 then
      core.error("option", who .. ": expected a network, or features [N,D] as graft.embed gives them")
   end
   if options.at then
      core.error("option", who .. ": at is for a network; these features are computed already")
   end
   local files, classes = {}, {}
   if data.is_set(set) then
      for i = 1, #set do
         local sample = set[i]
         files[i], classes[i] = sample.file, sample.class or table.concat(sample.classes, ", ")
      end
   elseif type(set) == "table" and type(rawget(set, "files")) == "table" then
      files = table.move(set.files, 1, #set.files, 1, {})
      classes = table.move(set.classes, 1, #set.classes, 1, {})
   else
      core.error("option", who .. ": expected the set that the features are of, or the info that graft.embed gave with them")
   end
   if #files ~= subject.shape[1] then
      core.error("shape", ("%s: %d features, but %s"):format(who, subject.shape[1], format.plural(#files, "photo")))
   end
   return subject, files, classes
end

local function place_by_tsne(features, start, options, who)
   local n = features.shape[1]
   local perplexity = options.perplexity or math.min(DEFAULT, (n - 1) / 3)
   local bar, tell, done = progress_of(n)
   local ok, points, divergence = pcall(core.tsne, features, start, perplexity, 0, tell)
   if not ok then
      bar.clear()
      error(points, 0)
   end
   bar:finish(done)
   return points, divergence, perplexity
end

-- graft.map(net|E, set|info, {method="pca"|"tsne", at=, perplexity=30}) -> map {points, files, classes, method, explained ...}
function feature_map.make(subject, set, options)
   local who = "graft.map"
   options = strict.options(options, who, { method = "string", at = "string", perplexity = "number" })
   local method = options.method or "pca"
   if method ~= "pca" and method ~= "tsne" then
      core.error("option", ('%s: method must be "pca" or "tsne", got %q'):format(who, method))
   elseif options.perplexity and method ~= "tsne" then
      core.error("option", who .. ": perplexity is for method = \"tsne\"")
   end
   local function check_count(count) -- before hours of features
      if method == "tsne" and count > MOST then
         core.error("limit", ("%s: t-SNE is for at most %s photos, here are %s; set:take{per_class=N} is a part of a set"):format(
            who, format.count(MOST), format.count(count)))
      end
   end
   check_count(data.is_set(set) and #set or 0)
   require("graft.looking").plan_only(who)
   local features, files, classes = features_of(subject, set, options, who)
   check_count(features.shape[1])
   if features.shape[1] < 4 or features.shape[2] < 2 then
      core.error("data", ("%s: a map needs at least 4 photos with 2 features each, got %d with %d"):format(who,
         features.shape[1], features.shape[2]))
   end
   local points, explained = core.pca(features, 2)
   local map = setmetatable({}, Map)
   local state = { points = points, files = files, classes = classes, method = method, names = names_of(classes),
      set = data.is_set(set) and set or nil }
   if method == "tsne" then
      state.points, state.divergence, state.perplexity = place_by_tsne(features, points, options, who)
   else
      state.explained = explained
   end
   states[map] = state
   return map
end

-- ---- as a picture ----

-- A photo as a square of `side` pixels, its middle.
local function thumbnail(state, file, side)
   local image
   if state.set then
      image = data.handle(state.set, "map:image"):photo(file, 4 * side)
   else
      image = core.image_load(file)
   end
   local h, w = image.shape[2], image.shape[3]
   local square = math.min(h, w)
   image = image:slice(2, (h - square) // 2 + 1, (h - square) // 2 + square):slice(3, (w - square) // 2 + 1,
      (w - square) // 2 + square)
   return core.image_resize(image:contiguous(), side, side)
end

local function plain(colour, h, w)
   local planes = {}
   for c = 1, 3 do
      planes[c] = core.tensor.full({ 1, h, w }, colour[c] / 255)
   end
   return core.tensor.concat(planes, 1)
end

-- Every photo has a cell of its own, framed in the colour of its class, as near to its place as there is one free.
local function draw_thumbnails(map, state, canvas, width, height)
   local count, own = #state.files, feature_map.colours(map)
   local cell = math.max(8, math.min(96, math.floor(math.sqrt(width * height * 0.45 / count))))
   local columns, rows = width // cell, height // cell
   local frame = math.max(1, cell // 16)
   local side = cell - 2 * frame - 1
   local bar = require("graft.progress").bar("thumbnails", count)
   for i, place in ipairs(core.snap(state.points, columns, rows)) do
      core.check_interrupt()
      local top, left = (place - 1) // columns * cell + 1, (place - 1) % columns * cell + 1
      local ok, tile = pcall(thumbnail, state, state.files[i], side)
      if not ok and core.is_error(tile) and tile.kind == "interrupt" then
         error(tile, 0)
      end
      core.image_paste(canvas, plain(own[state.classes[i]] or colours[#colours], cell - 1, cell - 1), top, left, 1)
      if ok then
         core.image_paste(canvas, tile, top + frame, left + frame, 1)
      end
      bar:step(1)
   end
   bar.clear()
end

local function draw_dots(map, state, canvas, width, height)
   local own, points = feature_map.colours(map), state.points
   local radius = math.max(2, math.min(8, math.floor(width / 40 / math.sqrt(#state.files) + 2)))
   local low_x, high_x = points:select(2, 1):min(), points:select(2, 1):max()
   local low_y, high_y = points:select(2, 2):min(), points:select(2, 2):max()
   for i = 1, #state.files do
      local x = high_x > low_x and (points[i][1] - low_x) / (high_x - low_x) or 0.5
      local y = high_y > low_y and (high_y - points[i][2]) / (high_y - low_y) or 0.5
      core.image_paste(canvas, plain(own[state.classes[i]] or colours[#colours], 2 * radius, 2 * radius),
         math.floor(y * (height - 2 * radius)) + 1, math.floor(x * (width - 2 * radius)) + 1, 1)
   end
end

-- map:image{width=1200, thumbnails=true} -> [3,H,W]
local function image(map, options)
   local who = "map:image"
   options = strict.options(options, who, { width = "integer", thumbnails = "boolean" })
   local state, width = states[map], options.width or 1200
   if width < 100 or width > 8000 then
      core.error("option", ("%s: width must be 100 to 8,000 pixels, got %d"):format(who, width))
   end
   local height = width * 3 // 4
   local canvas = core.tensor.ones(3, height, width)
   if options.thumbnails == false then
      draw_dots(map, state, canvas, width, height)
   else
      draw_thumbnails(map, state, canvas, width, height)
   end
   return canvas
end

local map_methods = { image = image }
local map_fields = { points = true, files = true, classes = true, method = true, explained = true, divergence = true,
   perplexity = true }

Map.__index = function(self, key)
   if map_methods[key] then
      return map_methods[key]
   elseif map_fields[key] then
      return states[self][key]
   end
   local known = strict.keys(map_fields)
   table.move(strict.keys(map_methods), 1, 1, #known + 1, known)
   local near = core.nearest(tostring(key), known)
   core.error("name", ("a map has no %q%s"):format(tostring(key), near and ('; nearest: "%s"'):format(near) or ""), near)
end
Map.__newindex = function(_, key)
   core.error("name", ("map.%s cannot be set"):format(tostring(key)))
end
Map.__len = function(self)
   return #states[self].files
end
Map.__tostring = function(self)
   local state = states[self]
   local of = state.method == "pca" and ("PCA: the two directions hold %.0f %% and %.0f %% of the variance"):format(
      100 * state.explained[1], 100 * state.explained[2])
      or ("t-SNE at perplexity %.3g; divergence %.2f"):format(state.perplexity, state.divergence)
   return ("map of %s, %s; %s"):format(format.plural(#state.files, "photo"), format.plural(#state.names, "class", "classes"), of)
end

return feature_map
