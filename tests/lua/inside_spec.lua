-- Looking inside: Grad-CAM, occlusion, filters, exciting photos, neighbours, maps, and the pictures made of them.
local graft = require "graft"
local core = require "graft.core"
local network = require "graft.network"
local helpers = require "helpers"

local photos = helpers.photos("inside", { "bowls", "mugs", "plates" }, 8)
local d = graft.data.folder(photos, { val = 0.25 })
local small = graft.load(helpers.weights()):replace_head(d)

local fixture = core.weights(helpers.tests .. "/fixtures/insight/looking.safetensors")

local function block(x, name, out, stride)
  local y = x:conv2d(name .. ".conv1", { out = out, kernel = 3, stride = stride, padding = 1, bias = false })
    :batch_norm(name .. ".bn1"):relu()
    :conv2d(name .. ".conv2", { out = out, kernel = 3, padding = 1, bias = false }):batch_norm(name .. ".bn2")
  if stride ~= 1 or x.shape[1] ~= out then
    x = x:conv2d(name .. ".downsample.0", { out = out, kernel = 1, stride = stride, bias = false })
      :batch_norm(name .. ".downsample.1")
  end
  return (y + x):relu()
end

-- The network of tests/fixtures/make_looking.py, with its numbers.
local function residual()
  local net = graft.nn.network { name = "residual", input = { 3, 32, 32 }, classes = { "a", "b", "c", "d" }, head = "fc",
    stages = { "conv1", "layer1", "layer2" }, preprocessing = { mean = { 0, 0, 0 }, std = { 1, 1, 1 } },
    build = function(x)
      x = x:conv2d("conv1", { out = 8, kernel = 3, stride = 2, padding = 1, bias = false }):batch_norm("bn1"):relu()
      x = block(block(x, "layer1.0", 8, 1), "layer2.0", 16, 2)
      return x:global_avg_pool():linear("fc", { out = 4 })
    end }
  for _, tensor in ipairs(fixture:tensors()) do
    local name = tensor.name:match "^net%.(.*)"
    if name then
      network.handle(net, "test"):set(name, fixture:get(tensor.name))
    end
  end
  return net
end

local function furthest(a, b)
  return (a - b):abs():max()
end

local function refused(message, f, ...)
  local ok, failure = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(message, tostring(failure))
end

describe("Grad-CAM", function()
  local net = residual()

  it("is PyTorch's on a residual network, at two layers and for two classes", function()
    for number = 1, 2 do
      local x = fixture:get("photos"):slice(1, number, number)
      for _, layer in ipairs { "layer1", "layer2" } do
        for name, class in pairs { best = 0, third = 3 } do
          local at = network.layer_end(network.handle(net, "test"), "test", layer)
          local maps, classes, p = core.grad_cam(network.handle(net, "test"), x, at, { class })
          local key = ("%d.%s.%s"):format(number, layer, name)
          local said = fixture:get("said." .. key)
          assert.equal(said[1], classes[1])
          assert.near(said[2], p[1], 1e-5)
          assert.is_true(furthest(maps[1], fixture:get("cam." .. key)) < 1e-4)
        end
      end
    end
  end)

  it("is the same for a list as for each photo, whatever its length", function()
    local list = {}
    for i = 1, 11 do
      list[i] = d.train[i].file
    end
    local maps, infos = small:grad_cam(list)
    for i = 1, 11, 5 do
      local map, info = small:grad_cam(list[i])
      assert.is_true(furthest(map, maps[i]) < 1e-4)
      assert.equal(info.class, infos[i].class)
      assert.same(small.preprocessing and map.shape, maps[i].shape)
    end
  end)

  it("takes every layer that has a map, and refuses the others", function()
    local handle = network.handle(net, "test")
    local x = fixture:get("photos")
    for _, row in ipairs(handle:layers()) do
      if #row.shape == 3 then
        local maps = core.grad_cam(handle, x, row.name, { 1, 0 })
        assert.is_true(maps:min() >= 0 and maps:max() <= 1)
      else
        refused("gives no map", core.grad_cam, handle, x, row.name, { 1, 0 })
      end
    end
  end)

  it("sees through frozen layers, dropout and auxiliary classifiers, and changes nothing", function()
    local own = small:clone():add_aux("layer3", {}):freeze "body"
    local before = own:digest()
    local map, info = own:grad_cam(d.train[1].file, { class = "mugs", at = "layer2" })
    assert.equal("mugs", info.class)
    assert.is_true(furthest(map, (small:grad_cam(d.train[1].file, { class = "mugs", at = "layer2" }))) < 1e-4)
    assert.equal(before, own:digest())
  end)

  it("names the nearest class and layer", function()
    refused('no class "mug".*nearest: "mugs"', small.grad_cam, small, d.train[1].file, { class = "mug" })
    refused('no layer "layer33"', small.grad_cam, small, d.train[1].file, { at = "layer33" })
    refused("2 classes for 1 photos", small.grad_cam, small, { d.train[1].file }, { class = { "mugs", "mugs" } })
    refused("gives no map", small.grad_cam, small, d.train[1].file, { at = small.head })
    refused("no photo", small.grad_cam, small, {})
  end)

  it("works with several labels a photo", function()
    local net2 = small:clone()
    network.handle(net2, "test"):set_multilabel(true)
    local _, info = net2:grad_cam(d.train[1].file, { class = "plates" })
    for _, said in ipairs(net2:predict(d.train[1].file)) do
      if said.class == "plates" then
        assert.near(said.p, info.p, 1e-5)
      end
    end
  end)
end)

describe("occlusion", function()
  it("tells how much the probability drops, patch by patch", function()
    local file, side = d.train[1].file, network.handle(small, "test"):input_shape()[2]
    local map, info = small:occlusion(file, { class = "mugs", patch = side, fill = 0.5 })
    -- one patch that covers everything: the drop is that to a grey photo
    local whole = small:predict(graft.full({ 3, side, side }, 0.5))
    for _, said in ipairs(whole) do
      if said.class == "mugs" then
        assert.near(info.p - said.p, map[1][1], 0.01)
        assert.near(map:min(), map:max(), 1e-6)
      end
    end
    assert.equal(1, info.patches)
  end)

  it("covers every pixel, whatever patch and stride", function()
    local map, info = small:occlusion(d.train[2].file, { patch = 5, stride = 3 })
    assert.is_true(map:max() < 1 and map:min() > -1)
    assert.is_true(info.patches > 1 and info.patch == 5 and info.stride == 3)
  end)

  it("refuses patches that do not fit", function()
    refused("patch must be 1 to", small.occlusion, small, d.train[1].file, { patch = 1000 })
    refused("stride must be 1 to", small.occlusion, small, d.train[1].file, { patch = 4, stride = 5 })
    refused("fill", small.occlusion, small, d.train[1].file, { fill = 2 })
  end)
end)

describe("filters", function()
  it("are the first convolution's weights about grey", function()
    local net = residual()
    local filters, weight = net:filters(), network.handle(net, "test"):get "conv1.weight"
    assert.same(weight.shape, filters.shape)
    for i = 1, #filters do
      local scaled = weight[i] / weight[i]:abs():max() * 0.5 + 0.5
      assert.is_true(furthest(filters[i], scaled) < 1e-5)
    end
  end)

  it("of deeper layers cannot be seen as colours", function()
    local net = residual()
    refused("read 8 channels", net.filters, net, "layer1.0.conv1")
    refused('nearest: "conv1"', net.filters, net, "conv_1")
  end)
end)

describe("exciting photos", function()
  it("are those with the largest values of a unit, and where", function()
    local found = graft.exciting(small, d.train, { at = "layer2", unit = 3, top = 4 })
    local best, maps = -math.huge, {}
    for i = 1, #d.train do
      maps[i] = small:features(small:preprocess(d.train[i].file), "layer2")[1][3]
      best = math.max(best, maps[i]:max())
    end
    assert.equal(4, #found)
    assert.near(best, found[1].value, 1e-4)
    for rank, photo in ipairs(found) do
      assert.is_true(rank == 1 or photo.value <= found[rank - 1].value)
      local map = small:features(small:preprocess(photo.file), "layer2")[1][3]
      assert.near(photo.value, map[photo.row][photo.column], 1e-4)
    end
  end)

  it("of the most selective units come without asking for one", function()
    local found = graft.exciting(small, d.train, { at = "layer2", units = 3, top = 2 })
    assert.equal(3, #found)
    assert.is_true(found[1].selectivity >= found[2].selectivity)
    assert.equal(2, #found[1].photos)
    assert.is_string(found[1].class)
    refused("unit must be 1 to", graft.exciting, small, d.train, { unit = 100000 })
    refused("expected a set", graft.exciting, small, "photos")
  end)
end)

describe("neighbours", function()
  it("are nearest by the cosine of the features, without the photo itself", function()
    local file = d.train[1].file
    local near = graft.neighbours(small, d.train, file, { top = 3 })
    assert.equal(3, #near)
    local features, info = graft.embed(small, d.train, { normalize = true })
    local least = math.huge
    for i, name in ipairs(info.files) do
      if name ~= file then
        least = math.min(least, 1 - (features[1] * features[i]):sum())
      end
    end
    assert.near(least, near[1].distance, 1e-4)
    local both = graft.neighbours(small, d.train, { d.train[2].file, file }, { top = 3 })
    assert.equal(near[1].file, both[2][1].file)
    for _, neighbour in ipairs(near) do
      assert.is_true(neighbour.file ~= file)
    end
  end)
end)

describe("a map", function()
  it("by PCA has scikit-learn's scores and shares, up to the sign", function()
    local scores, explained = core.pca(fixture:get "points", 2)
    local wide = core.pca(fixture:get "wide", 2)
    for k = 1, 2 do
      for _, pair in ipairs { { scores, "pca" }, { wide, "wide.pca" } } do
        local own, wanted = pair[1]:select(2, k), fixture:get(pair[2]):select(2, k)
        local largest = wanted:abs():max()
        assert.is_true(math.min(furthest(own, wanted), furthest(own, wanted * -1)) < 1e-4 * largest)
      end
      assert.near(fixture:get("explained")[k], explained[k], 1e-5)
    end
  end)

  -- Venna and Kaski 2001: of 1, how little of the neighbourhoods in the map is not in the data.
  local function trustworthiness(x, y, k)
    local n = #x
    local function distances(z)
      local square = (z * z):sum(2, true)
      return (square + square:t()):contiguous() - z:matmul(z:t()) * 2 + graft.eye(n) * 1e9
    end
    local far, sum = distances(x), 0
    local near = distances(y)
    for i = 1, n do
      local rank = {}
      for place, j in ipairs(far[i]:argsort()) do
        rank[j] = place
      end
      for place, j in ipairs(near[i]:argsort()) do
        if place <= k and rank[j] > k then
          sum = sum + rank[j] - k
        end
      end
    end
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * sum
  end

  it("by t-SNE is as good as scikit-learn's exact method, and the same every time", function()
    local points, wanted = fixture:get "points", fixture:get "tsne"
    local start = core.pca(points, 2)
    local placed, divergence = core.tsne(points, start, 20, 0)
    assert.is_true(divergence <= 1.05 * wanted[1])
    assert.is_true(trustworthiness(points, placed, 10) > wanted[2] - 0.01)
    assert.equal(placed, (core.tsne(points, start, 20, 0)))
  end)

  it("of photos tells files, classes and how it was made", function()
    local pca = graft.map(small, d.train)
    assert.same({ #d.train, 2 }, pca.points.shape)
    assert.equal(#d.train, #pca)
    assert.equal(d.train[1].class, pca.classes[1])
    assert.matches("map of 18 photos, 3 classes; PCA", tostring(pca))
    local tsne = graft.map(small, d.train, { method = "tsne", at = "layer3", perplexity = 4 })
    assert.matches("t%-SNE at perplexity 4", tostring(tsne))
    local features, info = graft.embed(small, d.train)
    assert.is_true(furthest(graft.map(features, info).points, pca.points) < 1e-4)
    assert.equal(graft.map(features, d.train).points, graft.map(features, info).points)
  end)

  it("as a picture gives every photo a place of its own", function()
    local map = graft.map(small, d.train)
    assert.same({ 3, 300, 400 }, map:image({ width = 400 }).shape)
    assert.same({ 3, 300, 400 }, map:image({ width = 400, thumbnails = false }).shape)
    local seen = {}
    for _, cell in ipairs(core.snap(graft.zeros(12, 2), 4, 3)) do -- all at one place
      assert.is_true(not seen[cell] and cell >= 1 and cell <= 12)
      seen[cell] = true
    end
  end)

  it("refuses what cannot be mapped", function()
    refused("method", graft.map, small, d.train, { method = "umap" })
    refused("perplexity is for", graft.map, small, d.train, { perplexity = 3 })
    refused("perplexity must be above 1", graft.map, small, d.train, { method = "tsne", perplexity = 100 })
    refused("at least 4 photos", graft.map, graft.rand(2, 5), { files = { "a", "b" }, classes = {} })
    local many = {}
    for i = 1, 5001 do
      many[i] = "x"
    end
    refused("at most 5,000", graft.map, graft.rand(5001, 2), { files = many, classes = many }, { method = "tsne" })
    refused("not all finite", core.pca, graft.full({ 5, 3 }, 0 / 0), 2)
    refused('nearest: "points"', function() return graft.map(small, d.train).point end)
  end)
end)

describe("a page", function()
  it("of a map shows it with its classes, as text what it is", function()
    local map = graft.map(small, d.train)
    graft.report(map, helpers.path "map.html")
    local html = helpers.read(helpers.path "map.html")
    assert.contains("data:image/jpeg;base64,", html)
    for _, class in ipairs { "bowls", "mugs", "plates" } do
      assert.contains(">" .. class .. "<", html)
    end
    graft.report(map, helpers.path "map.txt")
    assert.matches("^map of 18 photos", helpers.read(helpers.path "map.txt"))
  end)

  it("of pictures of one's own shows them with what is said of them, escaped", function()
    graft.report({ title = "Mine <b>", pictures = { { title = "One", text = "said & done", image = graft.zeros(3, 8, 8) },
      { images = { { image = d.train[1].file, caption = "<i>first" } } } } }, helpers.path "own.html")
    local html = helpers.read(helpers.path "own.html")
    assert.contains("Mine &lt;b&gt;", html)
    assert.contains("said &amp; done", html)
    assert.contains("&lt;i&gt;first", html)
    assert.equal(2, select(2, html:gsub("<img ", "")))
    assert.contains('<div class="photos">', html)
    graft.report({ pictures = { { images = { { image = d.train[1].file } }, columns = 6 } } }, helpers.path "own.html")
    assert.contains('<div class="photos rows" style="--n:6;--few:3">', helpers.read(helpers.path "own.html"))
    refused("columns must be 1 to 12, not 0", graft.report, { pictures = { { images = {}, columns = 0 } } },
      helpers.path "none.html")
    refused("expected 1 to 500", graft.report, { pictures = {} }, helpers.path "none.html")
    refused('nearest: "image"', graft.report, { pictures = { { imag = 1 } } }, helpers.path "none.html")
  end)
end)

describe("the photo as the network sees it", function()
  it("is the one that it was preprocessed to", function()
    local prep, seen = small.preprocessing, small:seen(d.train[1].file)
    local x = small:preprocess(d.train[1].file)[1]
    for c = 1, 3 do
      assert.is_true(furthest((seen[c] - prep.mean[c]) / prep.std[c], x[c]) < 1e-4)
    end
  end)
end)

describe("pictures side by side", function()
  it("have gaps, rows and columns", function()
    local grid = graft.image.grid({ graft.zeros(3, 4, 5), graft.zeros(3, 4, 5), graft.zeros(3, 4, 5) },
      { columns = 2, gap = 1, scale = 2 })
    assert.same({ 3, 2 * 9 + 1, 2 * 11 + 1 }, grid.shape)
    assert.equal(1, grid[1][1][1])
    assert.equal(0, grid[1][2][2])
    assert.equal(1, grid[1][11][13]) -- no fourth image
  end)

  it("show maps each from its smallest to its largest value, or all alike", function()
    local maps = graft.concat({ graft.linspace(0, 1, 4):reshape(1, 2, 2), graft.linspace(0, 10, 4):reshape(1, 2, 2) }, 1)
    local each = graft.image.grid(maps, { columns = 2, gap = 0, scale = 1 })
    assert.equal(1, each[1][2][2])
    assert.equal(1, each[1][2][4])
    local all = graft.image.grid(maps:unsqueeze(1), { columns = 2, gap = 0, scale = 1, normalize = "all" })
    assert.near(0.1, all[1][2][2], 1e-6)
  end)

  it("fit photos of several sizes into cells", function()
    local grid = graft.image.grid({ graft.zeros(3, 10, 20), graft.zeros(3, 30, 20) }, { columns = 2, gap = 0 })
    assert.same({ 3, 160, 320 }, grid.shape)
  end)

  it("refuse too many, and what is no image", function()
    refused("expected 1 to 4,096", graft.image.grid, {})
    refused("an image is", graft.image.grid, { graft.zeros(2, 4, 4) })
    refused("those of one photo", graft.image.grid, graft.zeros(2, 8, 4, 4))
    refused("make a picture of", graft.image.grid, graft.zeros(100, 3, 200, 200), { scale = 20 })
  end)

  it("carry a map in colours that tell more from less", function()
    local photo, map = graft.full({ 3, 1, 3 }, 0.5), graft.tensor({ { -1, 0, 2 } })
    local over = graft.image.overlay(photo, map, { strength = 1 })
    assert.near(0.5, over[1][1][1], 1e-4)
    assert.near(0.5, over[3][1][2], 1e-4)
    assert.near(253 / 255, over[1][1][3], 1e-4)
    assert.near(37 / 255, over[3][1][3], 1e-4)
    refused("say net = NET", graft.image.overlay, graft.zeros(3, 4, 4), map)
    local seen = graft.image.overlay(d.train[1].file, (small:grad_cam(d.train[1].file)), { net = small })
    assert.equal(3, #seen.shape)
  end)
end)
