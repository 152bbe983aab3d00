-- needs: GRAFT_TEST_DATA
-- Imported ImageNet networks see what they should: right answers among 250 photos, one of every fourth class, in the
-- folder data/imagenet250 of GRAFT_TEST_DATA. GRAFT_TEST_EFFICIENTNET is the PyTorch file of EfficientNet-Lite0.
local graft = require "graft"
local models = require "graft.models"

local folder = os.getenv "GRAFT_TEST_DATA"
local photos = folder .. "/data/imagenet250/"

-- The photos' paths, and the name of what each shows.
local function listing()
  local names = models.imagenet_classes()
  local files, truth = {}, {}
  for line in io.lines(photos .. "index.tsv") do
    local index, synset = line:match "^(%d+)\t(n%d+)\t"
    if index then
      files[#files + 1] = photos .. ("%04d_%s.jpg"):format(tonumber(index), synset)
      truth[#files] = names[tonumber(index) + 1]
    end
  end
  return files, truth
end

local function right_answers(net)
  local files, truth = listing()
  local right = 0
  for i, top in ipairs(net:predict(files, { top = 1 })) do
    right = right + (top[1].class == truth[i] and 1 or 0)
  end
  net:close()
  return right, #files
end

describe("on 250 photos of ImageNet,", function()
  it("Tiny Darknet is right 155 to 168 times", function()
    local right, count = right_answers(graft.load(folder .. "/weights/tiny_darknet.safetensors"))
    assert.equal(250, count)
    assert(right >= 155 and right <= 168, ("%d of 250"):format(right))
  end)

  it("EfficientNet-Lite0 is right at least 185 times", function()
    local weights = os.getenv "GRAFT_TEST_EFFICIENTNET"
    if not weights then
      skip "GRAFT_TEST_EFFICIENTNET is not set"
    end
    local right, count = right_answers(graft.load(weights))
    assert.equal(250, count)
    assert(right >= 185, ("%d of 250"):format(right))
  end)
end)
