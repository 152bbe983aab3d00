-- VGG (Simonyan and Zisserman 2014), named as in torchvision: numbers count the modules of its Sequential, so batch
-- norm moves the later ones.

local depths = {
   vgg11 = { 64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M" },
   vgg16 = { 64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M" },
}

-- The stages end at the pools: "features.4", say, is the last module before the next stage begins.
local function stages(widths, norm)
   local names, module = {}, 0
   for _, width in ipairs(widths) do
      if width == "M" then
         names[#names + 1] = "features." .. module
      end
      module = module + ((width == "M") and 1 or (norm and 3 or 2))
   end
   return names
end

local function vgg(family, norm, has, lacks)
   local widths = depths[family]
   return {
      name = family .. (norm and "_bn" or ""),
      input = { 3, 224, 224 },
      head = "classifier.6",
      stages = stages(widths, norm),
      has = has,
      lacks = lacks,
      build = function(x, classes)
         local module = 0
         for _, width in ipairs(widths) do
            if width == "M" then
               x = x:max_pool("features." .. module, { kernel = 2, stride = 2 })
               module = module + 1
            else
               x = x:conv2d("features." .. module, { out = width, kernel = 3, padding = 1 })
               if norm then
                  x = x:batch_norm("features." .. module + 1)
               end
               x = x:relu()
               module = module + (norm and 3 or 2)
            end
         end
         return x:adaptive_avg_pool("avgpool", { size = 7 }):flatten()
            :linear("classifier.0", { out = 4096 }):relu():dropout("classifier.2", 0.5)
            :linear("classifier.3", { out = 4096 }):relu():dropout("classifier.5", 0.5)
            :linear("classifier.6", { out = classes })
      end,
   }
end

return {
   vgg("vgg11", false, { { "features.18.weight", { 512, 512, 3, 3 } }, { "features.3.weight", { 128, 64, 3, 3 } } },
      { "features.1.running_mean", "features.19.weight" }),
   vgg("vgg11", true, { { "features.25.weight", { 512, 512, 3, 3 } }, { "features.4.weight", { 128, 64, 3, 3 } } },
      { "features.28.weight" }),
   vgg("vgg16", false, { { "features.28.weight", { 512, 512, 3, 3 } }, { "features.2.weight", { 64, 64, 3, 3 } } },
      { "features.1.running_mean" }),
   vgg("vgg16", true, { { "features.40.weight", { 512, 512, 3, 3 } }, { "features.3.weight", { 64, 64, 3, 3 } } },
      { "features.43.weight" }),
}
