-- Nearest neighbours: no training at all; a photo gets the class that most of the known photos most like it have.
--
--    graft run embeddings_knn --data photos/ --weights efficientnet_lite0.pth
--
-- The network turns each photo into a row of numbers (the pooled output of its body), and similar photos have similar rows.
-- A first answer in seconds: whether these weights see what tells your classes apart. New classes need no new training.
--
-- On ants and bees (244 photos, 153 to check with) and EfficientNet-Lite0 it prints:
--
--    145 of 153 right (0.948), by the 5 nearest of 244 known photos
--    the first mistakes:
--      119785936_dd428e40c3.jpg: ants, taken for bees; nearest: 85112639_6e860b0469.jpg
--      319494379_648fb5a1c6.jpg: ants, taken for bees; nearest: 2452236943_255bfd9e58.jpg
--      892676922_4ab37dce07.jpg: ants, taken for bees; nearest: 24335309_c5ea483bb8.jpg
--      1032546534_06907fe3b3.jpg: bees, taken for ants; nearest: 475961153_b8c13fd405.jpg
--      1519368889_4270261ee3.jpg: bees, taken for ants; nearest: 6743948_2b8c096dda.jpg

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   k = { type = "integer", default = 5, min = 1, help = "neighbours that vote" },
}

local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights)

-- One row a photo, [N,D], each of length 1: the product of two rows is the cosine of their angle.
local known, of_known = graft.embed(net, d.train, { normalize = true })
local asked, of_asked = graft.embed(net, d.val, { normalize = true })
local near = asked:matmul(known:t()):topk(math.min(opt.k, #known), 2) -- positions in `known`, nearest first

local right, mistakes = 0, {}
for i, neighbours in ipairs(near) do
   local votes, best = {}, nil
   for _, j in ipairs(neighbours) do
      local class = of_known.classes[j]
      votes[class] = (votes[class] or 0) + 1
      if not best or votes[class] > votes[best] then -- of equals, the one that had so many first
         best = class
      end
   end
   if best == of_asked.classes[i] then
      right = right + 1
   else
      mistakes[#mistakes + 1] = ("  %s: %s, taken for %s; nearest: %s"):format(of_asked.files[i]:match("[^/]+$"),
         of_asked.classes[i], best, of_known.files[neighbours[1]]:match("[^/]+$"))
   end
end

print(("%d of %d right (%.3f), by the %d nearest of %d known photos"):format(right, #near, right / #near, #near[1], #known))
if #mistakes > 0 then
   print("the first mistakes:\n" .. table.concat(mistakes, "\n", 1, math.min(5, #mistakes)))
end
