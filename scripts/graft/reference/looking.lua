-- The reference: looking inside a network. What the fields of an entry mean says scripts/graft/reference.lua.

local photo = { "image", "string|graft.tensor", "required", "a path, or [3,H,W] of numbers 0 to 1" }
local at = { "at", "string", "", "layer or stage; without: the last stage, which the classifier reads" }

return { name = "looking", title = "Looking inside", text = [[
Where in a photo a network sees a class, what its filters look like, which photos excite a unit, which photos are alike to it.
Nothing of this changes the network, its training or the random stream. Pictures come as tensors [3,H,W]:
graft.image.save(picture, graft.out("name.png")). All of it for your photos at once: graft run looking_inside --data DIR
--weights FILE. Maps of a layer: graft.image.grid(net:features(net:preprocess(path), "layer1")).]], entries = {
   {
      name = "net:grad_cam",
      text = "Where in a photo the network sees a class: Grad-CAM (Selvaraju et al. 2017), from the gradient of the class's "
         .. "output by the maps of one layer. Several photos at once take less time each.",
      arguments = { { "image", "string|graft.tensor|(string|graft.tensor)[]", "required",
         "a path or [3,H,W], or a list of them" } },
      options = { { "class", "string|string[]", "", "a class, or of a list one a photo; without: the most likely" },
         { "at", "string", "", "layer or stage that gives maps; without: the last one before the classifier" } },
      returns = { { "graft.tensor", "[H,W] at the network's input size, 0 to 1 where it speaks most for the class; all 0 where "
         .. "nothing does. Of a list of photos, a list" },
         { "graft.grad_cam_info", "what was asked; of a list of photos, a list" } },
      overloads = { "fun(self: graft.network, image: (string|graft.tensor)[], options?: table): graft.tensor[], "
         .. "graft.grad_cam_info[]" },
      fields = { { "class", "string", "the class" }, { "p", "number", "its probability" }, { "at", "string", "the layer" } },
      errors = { { "name", "there is no such class or layer", 'net:grad_cam("new/a.jpg", { class = "ant" })' },
         { "shape", "the layer gives no map", 'net:grad_cam("new/a.jpg", { at = "fc" })' } },
      example = 'local map, info = net:grad_cam("new/a.jpg", { class = "ants" })\nprint(info.class, map.rank)  --> ants  2\n'
         .. 'graft.image.save(graft.image.overlay("new/a.jpg", map, { net = net }), "where.png")',
      see = { "graft.image.overlay", "net:occlusion" },
   },
   {
      name = "net:occlusion",
      text = "What the network needs of a photo: how much the probability of a class drops when a patch hides a part of it "
         .. "(Zeiler and Fergus 2014). It needs no gradient, and a few hundred passes.",
      arguments = { photo },
      options = { { "class", "string", "", "without: the most likely" },
         { "patch", "integer", "", "side of the patch in pixels; without: an eighth of the photo's" },
         { "stride", "integer", "", "pixels between patches; without: half a patch" },
         { "fill", '"mean"|number', '"mean"', "colour of the patch: the photo's mean, or a grey from 0 to 1" } },
      returns = { { "graft.tensor", "[H,W], -1 to 1: the mean drop under the patches that cover a pixel" },
         { "graft.occlusion_info", "what was asked" } },
      fields = { { "class", "string", "the class" }, { "p", "number", "its probability for the whole photo" },
         { "patch", "integer", "pixels" }, { "stride", "integer", "pixels" }, { "patches", "integer", "how many were tried" } },
      errors = { { "option", "patch or stride do not fit", 'net:occlusion("new/a.jpg", { patch = 5000 })' } },
      example = 'local drop = net:occlusion("new/a.jpg", { patch = 4 })\n'
         .. 'graft.image.save(graft.image.overlay("new/a.jpg", drop, { net = net }), "needed.png")',
      see = { "net:grad_cam" },
   },
   {
      name = "net:filters",
      text = "Filters of a convolution that reads the photo, as pictures: middle grey is 0, and each goes as far as its largest "
         .. "weight.",
      arguments = { { "layer", "string", "", "a convolution; without: the first one" } },
      returns = { { "graft.tensor", "[N,3,k,k], 0 to 1" } },
      errors = { { "name", "there is no such convolution", 'net:filters("conv9")' },
         { "shape", "it reads maps and no colours" } },
      example = 'graft.image.save(graft.image.grid(net:filters(), { scale = 12 }), "filters.png")',
      see = { "graft.image.grid" },
   },
   {
      name = "net:seen",
      text = "The photo as the network sees it: resized and cut, its colours as they were.",
      arguments = { photo },
      returns = { { "graft.tensor", "[3,H,W], 0 to 1" } },
      errors = { { "file", "it cannot be read", 'net:seen("none.jpg")' } },
      example = 'graft.image.save(net:seen("new/a.jpg"), "seen.png")',
      see = { "net:preprocess", "graft.image.overlay" },
   },
   {
      name = "graft.exciting",
      text = "The photos of a set that excite a unit (a channel of a layer) most: by the largest value anywhere in its map. "
         .. "Without unit it returns the most selective ones, as a list of {unit=, class=, selectivity=, photos=}: those whose "
         .. "mean over the photos of one class lies most standard deviations above that over the others.",
      arguments = { { "net", "graft.network", "required", "is left as it is" }, { "set", "graft.set", "required",
         "such as d.train" } },
      options = { at, { "unit", "integer", "", "number of the channel, from 1" },
         { "units", "integer", "8", "how many, without unit" }, { "top", "integer", "9", "photos a unit" } },
      returns = { { "graft.exciting_photo[]", "best first" } },
      fields = { { "file", "string", "path" }, { "class", "string?", "its class" }, { "value", "number", "largest value of "
         .. "the map" },
         { "row", "integer", "of the map, where that is" }, { "column", "integer", "of the map" } },
      errors = { { "name", "there is no such layer", 'graft.exciting(net, d.val, { at = "layer9" })' },
         { "option", "there is no such unit", "graft.exciting(net, d.val, { unit = 100000 })" } },
      example = 'for _, photo in ipairs(graft.exciting(net, d.val, { at = "layer2", unit = 1, top = 3 })) do\n'
         .. '  print(photo.file, photo.value)\nend\n'
         .. "local best = graft.exciting(net, d.val)[1]\nprint(#best.photos)  --> 4",
      see = { "net:features", "graft.neighbours" },
   },
   {
      name = "graft.neighbours",
      text = "The photos of a set that are most alike to one photo for the network: by the angle between their pooled features. "
         .. "The photo itself is left out.",
      arguments = { { "net", "graft.network", "required", "is left as it is" }, { "set", "graft.set", "required",
         "such as d.train" },
         { "image", "string|graft.tensor|(string|graft.tensor)[]", "required", "a path or [3,H,W], or a list of them" } },
      options = { at, { "top", "integer", "5", "how many" } },
      returns = { { "graft.neighbour[]", "nearest first; of a list of photos, a list of such lists" } },
      overloads = { "fun(net: graft.network, set: graft.set, images: (string|graft.tensor)[], options?: table): "
         .. "graft.neighbour[][]" },
      fields = { { "file", "string", "path" }, { "class", "string?", "its class" },
         { "distance", "number", "1 - cosine: 0 is the same direction, 1 a right angle" } },
      errors = { { "name", "there is no such layer", 'graft.neighbours(net, d.val, "new/a.jpg", { at = "layer9" })' } },
      example = 'for _, near in ipairs(graft.neighbours(net, d.train, "new/a.jpg")) do print(near.class, near.distance) end',
      see = { "graft.embed", "graft.map" },
   },
   {
      name = "graft.map",
      text = "Photos as points of a plane, near each other where the network finds them alike. PCA shows the two directions in "
         .. "which features vary most: quick, and distances keep their meaning. t-SNE (van der Maaten and Hinton 2008) keeps "
         .. "neighbours together: groups show, but the space between them means nothing. It takes at most 5,000 "
            .. "photos, "
         .. "starts from PCA and so gives the same map every time.",
      arguments = { { "net", "graft.network|graft.tensor", "required", "a network, or features [N,D] of graft.embed" },
         { "set", "graft.set|graft.embedding_info", "required", "the photos, or the info that came with the features" } },
      options = { { "method", '"pca"|"tsne"', '"pca"', "how" }, at,
         { "perplexity", "number", "30",
            "of t-SNE: about how many neighbours count; a third of the photos where there are few" } },
      returns = { { "graft.map", "prints what it is" } },
      errors = { { "limit", "t-SNE of more than 5,000 photos" },
         { "option", "there is no such method", 'graft.map(net, d.val, { method = "umap" })' },
         { "data", "fewer than 4 photos", "graft.map(graft.rand(2, 5), { files = { 'a', 'b' }, classes = {} })" } },
      example = 'local map = graft.map(net, d.train)\nprint(#map.files, map.points.shape[2])  --> 12  2\n'
         .. 'graft.image.save(map:image{ width = 800 }, "map.png")',
      see = { "map:image", "graft.neighbours", "graft.embed" },
   },
   { name = "map.points", type = "graft.tensor", text = "[N,2]: where each photo is.",
      example = "print(graft.map(net, d.train).points.shape[1])  --> 12" },
   { name = "map.files", type = "string[]", text = "Paths, in the order of the points.",
      example = "print(#graft.map(net, d.train).files)  --> 12" },
   { name = "map.classes", type = "string[]", text = "Their classes.", example = "print(graft.map(net, d.train).classes[1])  "
      .. "--> ants" },
   { name = "map.method", type = "string", text = '"pca" or "tsne".',
      example = "print(graft.map(net, d.train).method)  --> pca" },
   { name = "map.explained", type = "number[]?", text = "Of PCA: the share of all variance that each direction holds.",
      example = "print(#graft.map(net, d.train).explained)  --> 2" },
   { name = "map.perplexity", type = "number?", text = "Of t-SNE: what was taken.",
      example = 'print(graft.map(net, d.train, { method = "tsne", perplexity = 3 }).perplexity)  --> 3' },
   { name = "map.divergence", type = "number?", text = "Of t-SNE: the Kullback-Leibler divergence that is left; 0 would be "
      .. "perfect.",
      example = 'print(graft.map(net, d.train, { method = "tsne" }).divergence > 0)  --> true' },
   {
      name = "map:image",
      text = "The map as a picture: each photo as near to its point as there is a free place, framed in the colour of its class; "
         .. "or dots. Classes have the colours of Okabe and Ito in the order of their names, beginning anew after eight: blue, "
         .. "orange, green, pink, red, light blue, yellow, grey.",
      options = { { "width", "integer", "1200", "pixels, 100 to 8,000; the height is three quarters of it" },
         { "thumbnails", "boolean", "true", "false: dots" } },
      returns = { { "graft.tensor", "[3,H,W], 0 to 1" } },
      errors = { { "option", "the width is out of range", "graft.map(net, d.train):image{ width = 5 }" } },
      example = "print(graft.map(net, d.train):image{ width = 400 }.shape[2])  --> 300",
      see = { "graft.image.save" },
   },
   {
      name = "graft.image.grid",
      text = "Images side by side. Those of several sizes are fitted into squares of 160 pixels; small ones are enlarged.",
      arguments = { { "images", "graft.tensor|(string|graft.tensor|graft.sample)[]", "required",
         "a list of paths or images, [N,3,H,W], or maps [1,C,H,W] or [C,H,W], which become grey images" } },
      options = { { "columns", "integer", "", "images in a row; without: about a square" },
         { "gap", "integer", "2", "white pixels between them" },
         { "scale", "integer", "", "pixels of the picture a pixel of an image; without: at least 48 for the longer side" },
         { "normalize", '"each"|"all"|boolean', "", 'of each image or of all, the smallest number is black and the largest '
            .. 'white; false: numbers are 0 to 1. Without: "each" for maps' } },
      returns = { { "graft.tensor", "[3,H,W], 0 to 1" } },
      errors = { { "shape", "they are no images", "graft.image.grid{ graft.zeros(2, 4, 4) }" },
         { "option", "there are none", "graft.image.grid{}" },
         { "limit", "the picture would have more than 32 megapixels", "graft.image.grid(graft.zeros(60, 3, 99, 99), { scale "
            .. "= 50 })" } },
      example = 'local maps = net:features(net:preprocess("new/a.jpg"), "layer1")\n'
         .. 'graft.image.save(graft.image.grid(maps), "layer1.png")',
      see = { "net:features", "net:filters", "graft.image.save" },
   },
   {
      name = "graft.image.overlay",
      text = "A map laid over a photo: the photo in grey, and colours from violet to yellow (viridis) where the map is "
         .. "above 0, up to its largest value.",
      arguments = { photo, { "map", "graft.tensor", "required", "[H,W] of net:grad_cam or net:occlusion" } },
      options = { { "net", "graft.network", "", "the network whose map it is: the photo is resized and cut as it saw it. Needed "
         .. "where photo and map differ in size" },
         { "strength", "number", "0.6", "of the colours, 0 to 1" } },
      returns = { { "graft.tensor", "[3,H,W], 0 to 1" } },
      errors = { { "shape", "photo and map differ in size, and net is not given",
         "graft.image.overlay(graft.zeros(3, 4, 4), graft.zeros(2, 2))" } },
      example = 'local map = net:grad_cam("new/a.jpg")\n'
         .. 'print(graft.image.overlay("new/a.jpg", map, { net = net }).shape[1])  --> 3',
      see = { "net:grad_cam", "net:occlusion" },
   },
} }
