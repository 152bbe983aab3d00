-- For specs that train in their own process: photos that tell their class by colour, and a small network for them.
local graft = require "graft"
local core = require "graft.core"

local coloured = {}

-- Photos of three classes below `work`: numbers 1 to `train` to train on, those up to `all` to validate with.
function coloured.photos(work, train, all)
   for i = 1, all do
      local class = ({ "red", "green", "blue" })[i % 3 + 1]
      local folder = ("%s/photos/%s/%s"):format(work, i <= train and "train" or "val", class)
      core.make_folder(folder)
      local image = graft.rand(3, 24, 24) * 0.3
      image[i % 3 + 1] = image[i % 3 + 1] + 0.6
      graft.image.save(image, ("%s/%d.png"):format(folder, i))
   end
   return graft.data.folder(work .. "/photos", { size = 16 })
end

-- Nothing that was kept for another network serves this one. `dropout`: its probability before the head, or nil.
function coloured.network(d, dropout)
   core.forget()
   graft.seed(5)
   return graft.nn.network { name = "mini", input = { 3, 16, 16 }, classes = d.classes, head = "fc",
      stages = { "conv1", "conv2" },
      build = function(x)
         x = x:conv2d("conv1", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
         x = x:conv2d("conv2", { out = 8, kernel = 3, padding = 1, stride = 2 }):relu():global_avg_pool("pool")
         return (dropout and x:dropout(dropout) or x):linear("fc", { out = 3 })
      end }
end

return coloured
