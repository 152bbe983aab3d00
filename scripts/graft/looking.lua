-- Looking inside a network: where it sees a class (Grad-CAM, occlusion), its filters, the photos that excite a unit
-- most, and what is near a photo in its features.

local core = require "graft.core"
local strict = require "graft.strict"
local data = require "graft.data"
local network = require "graft.network"

local looking = {}

-- Looking measures: while a recipe is planned there is nothing to look at yet.
local function plan_only(what)
   local context = require "graft.context"
   if context.planning then
      context.finish { planned = what }
   end
end
looking.plan_only = plan_only

-- The list of images that a user gave, and whether it was a list.
local function images_of(images, who)
   local several = type(images) == "table" and not network.is(images)
   local list = several and strict.list(images, { "string", "userdata" }, who .. ": the photos") or { images }
   if #list == 0 then
      core.error("option", who .. ": no photo is given")
   end
   return list, several
end

-- The number of a class; 0 for nil: the most likely one.
local function class_number(handle, class, who)
   if class == nil then
      return 0
   end
   strict.check(class, "string", who .. ": class")
   local classes = handle:classes()
   for i, name in ipairs(classes) do
      if name == class then
         return i
      end
   end
   if #classes == 0 then
      core.error("name", who .. ": this network has no class names; give them with graft.load(path, {classes={...}})")
   end
   local near = core.nearest(class, classes)
   core.error("name", ("%s: no class %q in %s%s"):format(who, class, handle:name(),
      near and ('; nearest: "%s"'):format(near) or ""), near)
end

local function class_name(handle, number)
   return handle:classes()[number] or ("output %d"):format(number)
end

-- One class for each of `count` photos: one for all, or a list.
local function class_numbers(handle, class, count, who)
   local numbers = {}
   if type(class) == "table" then
      local list = strict.list(class, "string", who .. ": class")
      if #list ~= count then
         core.error("option", ("%s: %d classes for %d photos; give one, or one a photo"):format(who, #list, count))
      end
      for i, name in ipairs(list) do
         numbers[i] = class_number(handle, name, who)
      end
      return numbers
   end
   local number = class_number(handle, class, who)
   for i = 1, count do
      numbers[i] = number
   end
   return numbers
end

-- The stage that ends with a layer, or the layer: what a person knows it by.
local function known_as(handle, layer)
   for _, stage in ipairs(handle:stages()) do
      if handle:layer_end(stage) == layer then
         return stage
      end
   end
   return layer
end

local PIECE = 32 -- photos in memory at once

-- net:grad_cam(image|list, {class=, at=}) -> map [H,W] of 0..1, info {class, p, at}; for a list, lists of them.
function looking.grad_cam(net, images, options)
   local who = "net:grad_cam"
   local handle = network.handle(net, who)
   options = strict.options(options, who, { class = { "string", "table" }, at = "string" })
   local list, several = images_of(images, who)
   local numbers = class_numbers(handle, options.class, #list, who)
   local at = options.at and network.layer_end(handle, who, options.at) or core.grad_cam_layer(handle)
   local shown = options.at or known_as(handle, at)
   plan_only(who)
   local maps, infos = {}, {}
   for first = 1, #list, PIECE do
      local last = math.min(first + PIECE - 1, #list)
      local photos = {}
      for i = first, last do
         photos[#photos + 1] = net:preprocess(list[i])
      end
      local found, classes, p = core.grad_cam(handle, core.tensor.concat(photos, 1), at, table.move(numbers, first, last, 1, {}))
      for i = 1, #classes do
         maps[#maps + 1] = found[i]:clone()
         infos[#infos + 1] = strict.table({ class = class_name(handle, classes[i]), p = p[i], at = shown }, "info")
      end
   end
   if several then
      return maps, infos
   end
   return maps[1], infos[1]
end

-- A value 0..1 as the network reads it, one number a channel.
local function preprocessed(handle, value)
   local prep, fill = handle:preprocessing(), {}
   for c = 1, handle:input_shape()[1] do
      fill[c] = (value - prep.mean[c]) / prep.std[c]
   end
   return fill
end

-- net:occlusion(image, {class=, patch=, stride=, fill=}) -> map [H,W] of the drop of the probability, info.
function looking.occlusion(net, image, options)
   local who = "net:occlusion"
   local handle = network.handle(net, who)
   options = strict.options(options, who, { class = "string", patch = "integer", stride = "integer",
      fill = { "string", "number" } })
   local number = class_number(handle, options.class, who)
   plan_only(who)
   local x = net:preprocess(image)
   local side = math.min(x.shape[3], x.shape[4])
   local patch = options.patch or math.max(1, side // 8)
   local stride = options.stride or math.max(1, patch // 2)
   local fill = options.fill or "mean"
   if fill ~= "mean" and (type(fill) ~= "number" or fill < 0 or fill > 1) then
      core.error("option", ('%s: fill must be "mean" or a grey from 0 to 1, got %s'):format(who, tostring(fill)))
   end
   local map, class, p, count = core.occlusion(handle, x, number, patch, stride,
      fill ~= "mean" and preprocessed(handle, fill) or nil)
   return map, strict.table({ class = class_name(handle, class), p = p, patch = patch, stride = stride, patches = count },
      "info")
end

-- net:seen(image) -> the photo as the network sees it: cut and resized, [3,H,W] of 0..1.
function looking.seen(net, image)
   local handle = network.handle(net, "net:seen")
   local x, prep, planes = net:preprocess(image)[1], handle:preprocessing(), {}
   for c = 1, #x do
      planes[c] = (x[c] * prep.std[c] + prep.mean[c]):unsqueeze(1)
   end
   if #x == 1 then
      planes[2], planes[3] = planes[1], planes[1]
   elseif prep.bgr then
      planes[1], planes[3] = planes[3], planes[1]
   end
   return core.tensor.concat(planes, 1):clamp(0, 1)
end

-- net:filters([layer]) -> [N,3,k,k] of 0..1: the weights of a convolution that reads the photo; grey is 0.
function looking.filters(net, layer)
   local who = "net:filters"
   local handle = network.handle(net, who)
   local rows, chosen = handle:layers(), nil
   if layer ~= nil then
      strict.check(layer, "string", who .. ": the layer")
      local names = {}
      for _, row in ipairs(rows) do
         if row.kind == "conv2d" then
            names[#names + 1] = row.name
            chosen = row.name == layer and row or chosen
         end
      end
      if not chosen then
         local near = core.nearest(layer, names)
         core.error("name", ("%s: no convolution %q in %s%s"):format(who, layer, handle:name(),
            near and ('; nearest: "%s"'):format(near) or ""), near)
      end
   else
      for _, row in ipairs(rows) do
         if row.kind == "conv2d" then
            chosen = row
            break
         end
      end
      if not chosen then
         core.error("name", ("%s: %s has no convolution"):format(who, handle:name()))
      end
   end
   local weight = handle:get(chosen.name .. ".weight")
   if weight.shape[2] ~= 3 and weight.shape[2] ~= 1 then
      core.error("shape", ("%s: the filters of %s read %d channels; only those of colours (3) or grey (1) can be seen"):format(
         who, chosen.name, weight.shape[2]))
   end
   if weight.shape[2] == 3 and handle:preprocessing().bgr then
      weight = core.tensor.concat({ weight:slice(2, 3, 3), weight:slice(2, 2, 2), weight:slice(2, 1, 1) }, 2)
   end
   local n, c, h, w = table.unpack(weight.shape)
   local largest = weight:abs():reshape(n, c * h * w):max(2, true):reshape(n, 1, 1, 1)
   return (weight / (largest + 1e-12) * 0.5 + 0.5):contiguous()
end

-- ---- photos of a set ----

local function check_set(set, who)
   if not data.is_set(set) then
      core.error("option", who .. ": expected a set such as data.train")
   end
   return data.handle(set, who)
end

-- Where units are looked for when nobody says: the end of the last stage.
local function default_layer(handle, who)
   local stages = handle:stages()
   if #stages == 0 then
      core.error("option", who .. ': this network names no stages; say at = "LAYER"')
   end
   return stages[#stages]
end

-- Mean and standard deviation of each column of [N,D].
local function moments(values)
   local n = values.shape[1]
   local mean = values:mean(1)
   local off = values - mean:unsqueeze(1):expand(n, mean.shape[1])
   return mean, ((off * off):mean(1) + 1e-12) ^ 0.5
end

-- The photos of one unit, of the columns of values and places.
local function photos_of(unit, found, top)
   local column = found.values:select(2, unit):contiguous()
   local list = {}
   for rank, i in ipairs((column:topk(math.min(top, #found.files), 1))) do
      local place = math.tointeger(found.at[i][unit])
      list[rank] = strict.table({ file = found.files[i], class = found.classes[i], value = column[i],
         row = place // found.width + 1, column = place % found.width + 1 }, "a photo", { "class" })
   end
   return list
end

-- For each class a row [C]: how many standard deviations the mean of its photos lies above that of the others.
local function above(found, names, deviation)
   local count, units = #found.files, found.values.shape[2]
   local total, rows = found.values:sum(1), {}
   for k, name in ipairs(names) do
      local row, own = {}, 0
      for i, class in ipairs(found.classes) do
         row[i] = class == name and 1 or 0
         own = own + row[i]
      end
      local sum = core.tensor.tensor { row }:matmul(found.values):reshape(units)
      rows[k] = (sum / own - (total - sum) / (count - own)) / deviation
   end
   return rows
end

-- The most selective units: those that respond to one class most unlike to the others (Morcos et al. 2018 measure the same by
-- a ratio, which needs values above 0). Without classes those whose `top` photos stand out most from the mean of all. Gives
-- their numbers, how many standard deviations it is, and the classes.
local function selective(found, top, units)
   local mean, deviation = moments(found.values)
   local names, seen = {}, {}
   for _, class in ipairs(found.classes) do
      if class and not seen[class] then
         seen[class], names[#names + 1] = true, class
      end
   end
   if #names < 2 or #names > #found.files // 2 then
      local _, best = found.values:topk(math.min(top, #found.files), 1)
      local score = ((best:mean(1) - mean) / deviation):contiguous()
      local order, scores = score:topk(math.min(units, score.shape[1]), 1)
      return order, scores, {}
   end
   local rows = core.tensor.stack(above(found, names, deviation), 1)
   local best, classes = rows:max(1), {}
   local order, scores = best:topk(math.min(units, best.shape[1]), 1)
   for rank, unit in ipairs(order) do
      classes[rank] = names[rows:select(2, unit):contiguous():argmax()]
   end
   return order, scores, classes
end

-- graft.exciting(net, set, {at=, unit=, units=8, top=9}) -> the photos that excite a unit most, best first; without
-- `unit` a list {unit=, class=, selectivity=, photos=} of the most selective ones.
function looking.exciting(net, set, options)
   local who = "graft.exciting"
   local handle = network.handle(net, who)
   options = strict.options(options, who, { at = "string", unit = "integer", units = "integer", top = "integer" })
   local top, units = options.top or 9, options.units or 8
   if top < 1 or units < 1 then
      core.error("option", ("%s: %s must be at least 1, got %d"):format(who, top < 1 and "top" or "units", math.min(top, units)))
   end
   local at = network.layer_end(handle, who, options.at or default_layer(handle, who))
   plan_only(who)
   local found = { files = {}, classes = {}, width = 1 }
   local values, places = {}, {}
   core.outputs(handle, check_set(set, who), at, {}, function(features, files, classes)
      core.check_interrupt()
      if #features.shape == 2 then
         features = features:reshape(features.shape[1], features.shape[2], 1, 1)
      end
      found.width = features.shape[4]
      values[#values + 1], places[#places + 1] = core.peaks(features)
      table.move(files, 1, #files, #found.files + 1, found.files)
      table.move(classes, 1, #classes, #found.classes + 1, found.classes)
   end)
   if #values == 0 then
      core.error("data", who .. ": no photo to look at")
   end
   found.values, found.at = core.tensor.concat(values, 1), core.tensor.concat(places, 1)
   local count = found.values.shape[2]
   if options.unit then
      if options.unit < 1 or options.unit > count then
         core.error("option", ("%s: unit must be 1 to %d at %s, got %d"):format(who, count, at, options.unit))
      end
      return photos_of(options.unit, found, top)
   end
   local order, scores, classes = selective(found, top, units)
   local list = {}
   for rank, unit in ipairs(order) do
      list[rank] = strict.table({ unit = unit, class = classes[rank], selectivity = scores[rank],
         photos = photos_of(unit, found, top) }, "a unit", { "class" })
   end
   return list
end

-- graft.neighbours(net, set, image|list, {at=, top=5}) -> list of {file, class, distance}, nearest first; for a list, a list
-- of such lists. A photo itself, when it is in the set, is left out.
function looking.neighbours(net, set, images, options)
   local who = "graft.neighbours"
   local embed = require "graft.embed"
   local handle = network.handle(net, who)
   options = strict.options(options, who, { at = "string", top = "integer" })
   local top = options.top or 5
   if top < 1 then
      core.error("option", ("%s: top must be at least 1, got %d"):format(who, top))
   end
   check_set(set, who)
   local list, several = images_of(images, who)
   local at = options.at or default_layer(handle, who)
   local layer = network.layer_end(handle, who, at)
   plan_only(who)
   local rows = {}
   for i, image in ipairs(list) do
      rows[i] = core.pool(handle:forward(net:preprocess(image), { layer })[1], {})
   end
   local own = core.tensor.concat(rows, 1)
   own = own / (((own * own):sum(2, true)) ^ 0.5 + 1e-12)
   local known, info = embed.embed(net, set, { at = at, normalize = true })
   local near, similarity = own:matmul(known:t()):topk(math.min(top + 1, #info.files), 2)
   local results = {}
   for k, order in ipairs(near) do
      local found = {}
      for rank, i in ipairs(order) do
         if info.files[i] ~= list[k] and #found < top then
            found[#found + 1] = strict.table({ file = info.files[i], class = info.classes[i],
               distance = math.max(0, 1 - similarity[k][rank]) }, "a neighbour", { "class" })
         end
      end
      results[k] = found
   end
   return several and results or results[1]
end

return looking
