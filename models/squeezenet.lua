-- SqueezeNet 1.1 (Iandola et al. 2016), named as in torchvision. Its classifier is a 1x1 convolution whose maps are
-- averaged.

local function fire(x, name, squeeze, expand)
   x = x:conv2d(name .. ".squeeze", { out = squeeze, kernel = 1 }):relu()
   return require("graft.nn").concat {
      x:conv2d(name .. ".expand1x1", { out = expand, kernel = 1 }):relu(),
      x:conv2d(name .. ".expand3x3", { out = expand, kernel = 3, padding = 1 }):relu(),
   }
end

local function pool(x, name)
   return x:max_pool(name, { kernel = 3, stride = 2, ceil = true })
end

local squeezenet1_1 = {
   name = "squeezenet1_1",
   input = { 3, 224, 224 },
   head = "classifier.1",
   stages = { "features.2", "features.5", "features.8", "features.9", "features.10", "features.11", "features.12" },
   has = { { "features.12.expand3x3.weight", { 256, 64, 3, 3 } }, { "features.0.weight", { 64, 3, 3, 3 } } },
   build = function(x, classes)
      x = pool(x:conv2d("features.0", { out = 64, kernel = 3, stride = 2 }):relu(), "features.2")
      x = pool(fire(fire(x, "features.3", 16, 64), "features.4", 16, 64), "features.5")
      x = pool(fire(fire(x, "features.6", 32, 128), "features.7", 32, 128), "features.8")
      x = fire(fire(x, "features.9", 48, 192), "features.10", 48, 192)
      x = fire(fire(x, "features.11", 64, 256), "features.12", 64, 256)
      return x:dropout("classifier.0", 0.5):conv2d("classifier.1", { out = classes, kernel = 1 }):relu()
         :global_avg_pool()
   end,
}

return { squeezenet1_1 }
