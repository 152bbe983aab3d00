-- Photos, data sets and batches through the core. The photos are made here.
local graft = require "graft"
local core = require "graft.core"
local tensor = core.tensor

local folder = os.tmpname()
local colours = { red = { 1, 0, 0 }, green = { 0, 1, 0 } }

local function photo(colour, h, w, shade)
  local planes = {}
  for c = 1, 3 do
    planes[c] = tensor.full({ h, w }, colour[c] * shade)
  end
  return tensor.stack(planes)
end

local function make()
  os.remove(folder)
  for class, colour in pairs(colours) do
    core.make_folder(folder .. "/" .. class)
    for i = 1, 6 do
      core.image_save(photo(colour, 20, 30, 0.5 + i / 20), ("%s/%s/%d.png"):format(folder, class, i))
    end
  end
end
make()

local function remove(path)
  if core.stat(path).kind == "folder" then
    for _, name in ipairs(core.list(path)) do
      remove(path .. "/" .. name)
    end
  end
  core.remove(path)
end

describe("photos", function()
  it("come back as they were saved", function()
    local x = core.image_load(folder .. "/red/1.png")
    assert.same({ 3, 20, 30 }, x.shape)
    assert.near(0.55, x[1][1][1], 1 / 255)
    assert.equal(0.0, x:slice(1, 2, 3):max())
    assert.same({ 30, 20, "PNG" }, { core.image_size(folder .. "/red/1.png") })
  end)

  it("are resized and shown", function()
    local small = core.image_resize(photo({ 1, 1, 1 }, 40, 60, 1), 10, 15, "bicubic")
    assert.same({ 3, 10, 15 }, small.shape)
    assert.near(1, small:min())
    assert.equal("@@@@@@\n@@@@@@\n", core.image_blocks(small, 6, 20, "dark"))
    assert.equal("@@@\n", core.image_blocks(small, 6, 1, "dark"))
    assert.equal("      \n      \n", core.image_blocks(small, 6, 20, "light"))
    assert.contains("\27[38;2;255;255;255m", core.image_blocks(small, 6, 20, "24bit"))
    assert.contains("\27[38;5;231m", core.image_blocks(small, 6, 20, "256"))
    assert.error_matches(function() core.image_blocks(small, 0, 20, "dark") end, "columns")
    assert.error_matches(function() core.image_blocks(small, 6, 20, "red") end, '"24bit", "256", "dark", "light"')
  end)

  it("are told from feature maps, which are a grid with a scale", function()
    local picture = require "graft.picture"
    local maps = graft.zeros(10, 7, 7)
    maps[1]:fill(-1)
    maps[10]:fill(3)
    local text = picture.text(maps, 33, 40, "dark")
    local first, last = text:match("^([^\n]*)\n"), text:match("([^\n]*)\n$")
    assert.equal((" "):rep(7) .. " " .. table.concat({ ("::"):rep(3) .. ":", (":"):rep(7), (":"):rep(7) }, " "), first)
    assert.equal("  10 maps, 7x7   -1.00    ...::---==+++**###%%@ 3.00", last)
    assert.equal(text, picture.text(maps:unsqueeze(1), 33, 40, "dark"))
    local _, lines = picture.text(graft.rand(512, 56, 56), 80, 24, "dark"):gsub("\n", "\n")
    assert.is_true(lines <= 24, lines)
    assert.contains("maps 1 to", picture.text(graft.rand(512, 56, 56), 80, 24, "dark"))
    assert.contains("1 map, 4x3", picture.text(graft.randn(3, 4), 80, 24, "dark"))
    assert.is_nil(picture.text(graft.rand(3, 8, 8), 80, 24, "dark"):find "map")
    assert.is_nil(picture.text(graft.rand(1, 8, 8), 80, 24, "dark"):find "map")
    assert.contains("black is -2.00, white 2.00", picture.text(graft.linspace(-2, 2, 192):reshape(3, 8, 8), 80, 24, "dark"))
    for _, x in ipairs { graft.zeros(2, 3, 8, 8), graft.zeros(1, 10), graft.zeros(5), graft.zeros(4, 0, 3) } do
      assert.error_matches(function() picture.text(x, 80, 24, "dark") end, "expected a path, a photo %[3,H,W%], or feature maps")
    end
    assert.is_true(#picture.text(graft.full({ 4, 2, 2 }, 0 / 0), 80, 24, "dark") > 0)
    assert.is_true(#picture.text(graft.full({ 4, 2, 2 }, 1 / 0), 80, 24, "256") > 0)
  end)

  it("say what is wrong", function()
    assert.error_matches(function() core.image_load(folder .. "/none.png") end, "none%.png")
    core.write(folder .. "/text.jpg", "not a photo")
    assert.error_matches(function() core.image_load(folder .. "/text.jpg") end, "text%.jpg")
    os.remove(folder .. "/text.jpg")
    assert.error_matches(function() core.image_save(tensor.zeros(2, 3), "/tmp/x.png") end, "%[3,H,W%]")
    assert.error_matches(function() core.image_save(tensor.zeros(3, 4, 4), "x.bmp") end, "png")
  end)

  it("become what a network wants", function()
    local net = core.network("n", { 3, 8, 8 }, { resize = 8, mean = { 0.5, 0, 0 }, std = { 0.5, 1, 1 } })
    local x = core.preprocess(net, folder .. "/green/6.png")
    assert.same({ 1, 3, 8, 8 }, x.shape)
    assert.near(-1, x[1][1][1][1], 1e-6)
    assert.near(0.8, x[1][2][1][1], 1 / 255)
  end)
end)

describe("a folder of photos", function()
  it("is listed and split", function()
    local data = core.data_folder(folder, { val = 0.34 })
    assert.same({ "green", "red" }, data:classes())
    assert.same({ green = 6, red = 6 }, data:counts())
    assert.equal(12, data:set("train"):count() + data:set("val"):count())
    assert.is_true(data:set("val"):count() >= 2)
    assert.equal(0, data:set("test"):count())
    local sample = data:set("train"):at(1)
    assert.is_not_nil(colours[sample.class])
    assert.contains(folder, sample.file)
    assert.equal(64, #data:digest())
    assert.equal(data:digest(), core.data_folder(folder, { val = 0.34 }):digest())
  end)

  it("refuses bad options, folders and positions", function()
    assert.error_matches(function() core.data_folder(folder .. "/none") end, "no such folder")
    assert.error_matches(function() core.data_folder(folder, { clases = {} }) end, 'nearest: "classes"')
    assert.error_matches(function() core.data_folder(folder, { val = 2 }) end, "val must")
    assert.error_matches(function() core.data_folder(folder, { on_bad = "stop" }) end, "on_bad")
    assert.error_matches(function() core.data_folder(folder, { classes = { "red", "blue" } }) end, "blue")
    local set = core.data_folder(folder):set("train")
    assert.error_matches(function() set:at(0) end, "no photo 0")
    assert.error_matches(function() set:take { 1000 } end, "no photo 1000")
    assert.error_matches(function() return set.cuont end, 'nearest: "count"')
  end)

  it("gives sets of one's own", function()
    local data = core.data_folder(folder, { val = 0 })
    local train = data:set("train")
    local taken = train:take { 12, 1 }
    assert.equal(2, taken:count())
    assert.same(train:at(12), taken:at(1))
    assert.same({ { 0, 1 }, { 1, 0 } }, taken:targets():table())
    local with = data:with(taken)
    assert.equal(2, with:set("train"):count())
    assert.equal(12, data:set("train"):count())
    assert.same({ green = 1, red = 1 }, with:counts("train"))
  end)
end)

describe("batches", function()
  local data = core.data_folder(folder, { val = 0 })
  local net = core.network("n", { 3, 8, 8 }, { resize = 8, mean = { 0, 0, 0 }, std = { 1, 1, 1 } })
  local train = data:set("train")

  it("hold every photo once, with its targets", function()
    local seen, sizes = {}, {}
    for x, y, b in train:batches { net = net, batch_size = 5 } do
      sizes[#sizes + 1] = b:count()
      assert.same({ b:count(), 3, 8, 8 }, x.shape)
      for i, file in ipairs(b:files()) do
        seen[file] = (seen[file] or 0) + 1
        local class = b:classes()[i]
        local column = class == "green" and 1 or 2
        assert.equal(1.0, y[i][column])
        assert.is_true(x[i][column == 1 and 2 or 1][1][1] > 0.4)
      end
    end
    assert.same({ 5, 5, 2 }, sizes)
    local count = 0
    for _, times in pairs(seen) do
      count = count + times
      assert.equal(1, times)
    end
    assert.equal(12, count)
  end)

  it("are shuffled by seed and epoch alone", function()
    local function order(epoch, seed)
      local files = {}
      for _, _, b in train:batches { net = net, batch_size = 12, shuffle = true, epoch = epoch, seed = seed, fit = 1 } do
        files = b:files()
      end
      return files
    end
    assert.same(order(1, 1), order(1, 1))
    assert.not_same(order(1, 1), order(2, 1))
    assert.not_same(order(1, 1), order(1, 2))
  end)

  it("end early and close their loader", function()
    for _, _, b in train:batches { batch_size = 2 } do
      assert.error_matches(function() data:close() end, "still running")
      if b:count() == 2 then
        break
      end
    end
    pcall(function()
      for _ in train:batches { batch_size = 2 } do
        error("stop")
      end
    end)
    local scrap = core.data_folder(folder)
    scrap:close()
    scrap:close()
    assert.error_matches(function() scrap:classes() end, "closed")
  end)

  it("are gone when the loop goes on", function()
    local first
    for _, _, b in train:batches { net = net, batch_size = 6 } do
      if first then
        assert.error_matches(function() first:input(net) end, "no longer")
        assert.equal(6, #first:files())
      else
        first = b
        local x = b:input(core.network("m", { 1, 5, 5 }))
        assert.same({ 6, 1, 5, 5 }, x.shape)
      end
    end
  end)

  it("can be augmented", function()
    local augment = { { kind = "hflip", p = 1 }, { kind = "random_resized_crop", scale = { 0.5, 1 } },
      { kind = "color_jitter", brightness = 0.2 }, { kind = "rotation", degrees = 5 }, { kind = "random_erasing" },
      { kind = "mixup", alpha = 0.4 } }
    local soft = 0
    for _, y in train:batches { net = net, batch_size = 12, augment = augment } do
      soft = soft + y:gt(0):sum()
      assert.near(12, y:sum(), 1e-4)
    end
    assert.is_true(soft >= 12)
    assert.error_matches(function() train:batches { augment = { { kind = "flip" } } } end, "flip")
    assert.error_matches(function() train:batches { augment = "lihgt" } end, "light")
    assert.error_matches(function() train:batches { augment = { { kind = "hflip", p = 2 } } } end, "0 to 1")
    assert.error_matches(function() train:batches { batch_size = 0 } end, "batch_size")
    assert.error_matches(function() train:batches { batchsize = 2 } end, 'nearest: "batch_size"')
  end)

  it("come without tensors when nobody wants them", function()
    for n, none, b in train:batches { net = net, batch_size = 12, tensors = false } do
      assert.equal(12, n)
      assert.is_false(none)
      assert.equal(12, b:count())
    end
  end)
end)

describe("lists and tables", function()
  it("make data sets too", function()
    local items = {}
    for i = 1, 6 do
      items[#items + 1] = { image = folder .. "/red/" .. i .. ".png", class = "warm" }
      items[#items + 1] = { image = folder .. "/green/" .. i .. ".png", class = "cold" }
    end
    local data = core.data_list(items, { val = 0 })
    assert.same({ "cold", "warm" }, data:classes())
    assert.is_true(core.data_list(items, { val = 0.5 }):set("val"):count() > 0)
    assert.error_matches(function() core.data_list { { image = "x" } } end, "entry 1")
    core.write(folder .. "/t.csv", "file,tags\nred/1.png,a|b\nred/2.png,a\ngreen/1.png,b\ngreen/2.png,a\n")
    local csv = core.data_csv(folder .. "/t.csv", { image = "file", labels = "tags", separator = "|", val = 0 })
    assert.is_true(csv:multilabel())
    assert.same({ "a", "b" }, csv:classes())
    assert.near({ 3, 2 }, csv:set("train"):targets():sum(1):table())
  end)
end)

describe("afterwards", function()
  it("the photos are removed", function()
    collectgarbage()
    remove(folder)
    assert.is_nil(core.stat(folder))
  end)
end)
