-- Looking inside: what a network sees in your photos, as pictures and one page; nothing is trained.
--
--    graft run looking_inside --data photos/ --weights efficientnet_lite0.pth
--
-- It makes, as PNG files in the run folder and on the page looking_inside.html:
--
--    filters        the first convolution: edges and colours
--    low mid high   the maps of one photo at the beginning, in the middle and at the end
--    units          the photos that excite a few units most, and where in them
--    why            where the network sees what it says (Grad-CAM), and what it needs (occlusion)
--    neighbours     the photos that are most alike to some, for the network
--    map            all photos in a plane, alike ones near each other
--
-- On ants and bees (244 photos) and EfficientNet-Lite0 it prints:
--
--    filters      The first filters
--    photo        A photo as the network sees it
--    low          Maps of that photo at conv_stem
--    mid          Maps of that photo at blocks.3
--    high         Maps of that photo at conv_head
--    units_mid    Photos that excite units of blocks.3 most
--    units_high   Photos that excite units of conv_head most
--    why          Where it sees what it says, and what it needs
--    neighbours   The photos most alike to some
--    map          All photos, alike ones near each other
--
--    13 of 20 neighbours are of the photo's class; page: runs/looking_inside-1/looking_inside.html
--
-- The last convolution's most selective units look at the insect, and so does Grad-CAM; covering it costs most. The map puts ants
-- and bees apart, though these weights were never taught the difference here.

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "weights, pretrained or your own" },
   photos = { type = "integer", default = 6, min = 1, max = 50, help = "photos to explain" },
   units = { type = "integer", default = 6, min = 1, max = 50, help = "units whose photos are shown, at each of two depths" },
   method = { default = "tsne", choices = { "tsne", "pca" }, help = "of the map" },
}

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights)
local stages = net.stages
local low, mid, high = stages[1], stages[(#stages + 1) // 2], stages[#stages]
local album = { title = "Looking inside", subtitle = ("%s and %s"):format(net.name, tostring(d)), pictures = {} }

-- Saves a picture and puts it on the page.
local function show(name, title, text, image, images, columns)
   if image then
      graft.image.save(image, graft.out(name .. ".png"))
   end
   album.pictures[#album.pictures + 1] = { title = title, text = text, image = image, images = images,
      columns = columns }
   print(("%-12s %s"):format(name, title))
end

local function name_of(file)
   return file:match "[^/]+$"
end

-- Photos of all classes in turn, from the validation photos where there are any.
local class_of = {}
local function some(set, count)
   local by_class, names, list = {}, {}, {}
   for i = 1, #set do
      local sample = set[i]
      local class = sample.class or sample.classes[1] or ""
      if not by_class[class] then
         by_class[class], names[#names + 1] = {}, class
      end
      class_of[sample.file] = class
      table.insert(by_class[class], sample.file)
   end
   for turn = 1, #set do
      for _, class in ipairs(names) do
         -- far apart within the class, since neighbours in a folder may be of one scene
         local files = by_class[class]
         if turn <= #files and #list < count then
            list[#list + 1] = files[(turn - 1) * math.max(1, #files * #names // count) % #files + 1]
         end
      end
   end
   return list
end

local set = #d.val > 0 and d.val or d.train
local chosen = some(set, math.min(opt.photos, #set))

show("filters", "The first filters", "What the first convolution looks for: edges of several directions, spots and colours. "
   .. "Middle grey is 0.", graft.image.grid(net:filters(), { scale = 12 }))

-- One photo on its way: the 64 first maps at three depths.
local first = net:preprocess(chosen[1])
show("photo", "A photo as the network sees it", name_of(chosen[1]), net:seen(chosen[1]))
local what = { low = "still a picture, of edges and colours", mid = "coarser, of textures and parts",
   high = "coarse; most say nothing, some mark one thing" }
for _, depth in ipairs { { "low", low }, { "mid", mid }, { "high", high } } do
   local maps = net:features(first, depth[2])
   if maps.rank == 4 and maps.shape[3] * maps.shape[4] > 1 then
      local count = math.min(64, maps.shape[2])
      show(depth[1], ("Maps of that photo at %s"):format(depth[2]), ("%d of %d maps of %dx%d: %s. Each from its smallest value "
         .. "(black) to its largest (white)."):format(count, maps.shape[2], maps.shape[4], maps.shape[3], what[depth[1]]),
         graft.image.grid(maps:slice(2, 1, count), { columns = 8 }))
   end
end

-- What excites a unit, and where: its map over each of the photos.
local function units_at(layer)
   local rows = {}
   for _, unit in ipairs(graft.exciting(net, d.train, { at = layer, units = opt.units, top = 6 })) do
      for _, photo in ipairs(unit.photos) do
         local seen, map = net:seen(photo.file), net:features(net:preprocess(photo.file), layer)
         if map.rank == 4 then
            map = map[1][unit.unit]:clamp(0, math.huge)
            map = graft.image.resize((map / (map:max() + 1e-12)):unsqueeze(1), seen.shape[2], seen.shape[3])[1]
            seen = graft.image.overlay(seen, map)
         end
         rows[#rows + 1] = graft.image.resize(seen, 128, 128)
      end
   end
   return graft.image.grid(rows, { columns = 6 })
end
for _, layer in ipairs { mid, high } do
   show("units_" .. (layer == mid and "mid" or "high"), ("Photos that excite units of %s most"):format(layer),
      "A row is a unit, one of those that respond to one class most unlike to the others, with its map in colours over those "
      .. "that excite it most.", units_at(layer))
end

-- Why: where it sees the class that it says, and what it needs for it.
local maps, infos = net:grad_cam(chosen)
local why = {}
for i, file in ipairs(chosen) do
   local seen = net:seen(file)
   local drop = net:occlusion(file, { class = infos[i].class })
   local said = ("%s: %s %.0f %%"):format(name_of(file), infos[i].class, 100 * infos[i].p)
   why[#why + 1] = { image = seen, caption = said }
   why[#why + 1] = { image = graft.image.overlay(seen, maps[i]), caption = "where it sees " .. infos[i].class }
   local most = drop:max()
   if most < 0.01 then -- a map goes from its own least to its own most, and would show where nothing is
      drop, most = graft.zeros(drop.shape), nil
   end
   why[#why + 1] = { image = graft.image.overlay(seen, drop), caption = most
      and ("what it needs: covered, the probability drops by up to %.2f"):format(most) or "no patch alone matters, when covered" }
   graft.image.save(graft.image.grid({ why[#why - 2].image, why[#why - 1].image, why[#why].image }, { columns = 3 }),
      graft.out(("why_%d.png"):format(i)))
end
show("why", "Where it sees what it says, and what it needs", ("Grad-CAM at %s, and occlusion: what happens when a patch hides a "
   .. "part."):format(infos[1].at), nil, why, 3)

-- The photos most alike to some.
local alike, tiles, right, all = {}, {}, 0, 0
local asked = table.move(chosen, 1, math.min(4, #chosen), 1, {})
local function show_photo(file, caption)
   local seen = net:seen(file)
   alike[#alike + 1], tiles[#tiles + 1] = { image = seen, caption = caption }, seen
end
for i, list in ipairs(graft.neighbours(net, d.train, asked, { top = 5 })) do
   show_photo(asked[i], ("%s: %s"):format(class_of[asked[i]], name_of(asked[i])))
   for _, near in ipairs(list) do
      show_photo(near.file, ("%s, distance %.2f"):format(near.class or "", near.distance))
      all, right = all + 1, right + (near.class == class_of[asked[i]] and 1 or 0)
   end
end
graft.image.save(graft.image.grid(tiles, { columns = 6 }), graft.out "neighbours.png")
show("neighbours", "The photos most alike to some", "First a photo, then its five nearest of the training photos.", nil, alike, 6)

-- All photos in a plane.
local shown = d.train
if #shown > 2000 then
   shown = d.train:take { per_class = math.max(1, 2000 // #d.classes) }
end
local map = graft.map(net, shown, { method = opt.method })
local colours, legend = { "blue", "orange", "green", "pink", "red", "light blue", "yellow", "grey" }, {}
table.move(d.classes, 1, #d.classes, 1, legend)
table.sort(legend)
for i, class in ipairs(legend) do
   legend[i] = ("%s %s"):format(class, colours[(i - 1) % #colours + 1])
end
show("map", "All photos, alike ones near each other", ("%s. Frames: %s."):format(tostring(map), table.concat(legend, ", ")),
   map:image {})

graft.report(album, graft.out "looking_inside.html")
print(("\n%d of %d neighbours are of the photo's class; page: %s"):format(right, all, graft.out "looking_inside.html"))
