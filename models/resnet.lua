-- ResNet (He et al. 2015), named as in torchvision and timm: the stride of a bottleneck is in its 3x3 convolution.

local function shortcut(x, name, out, stride)
   if stride == 1 and x.shape[1] == out then
      return x
   end
   return x:conv2d(name .. ".downsample.0", { out = out, kernel = 1, stride = stride, bias = false })
      :batch_norm(name .. ".downsample.1")
end

local function basic(x, name, width, stride)
   local y = x:conv2d(name .. ".conv1", { out = width, kernel = 3, stride = stride, padding = 1, bias = false })
      :batch_norm(name .. ".bn1"):relu()
      :conv2d(name .. ".conv2", { out = width, kernel = 3, padding = 1, bias = false })
      :batch_norm(name .. ".bn2")
   return (y + shortcut(x, name, width, stride)):relu()
end

local function bottleneck(x, name, width, stride)
   local y = x:conv2d(name .. ".conv1", { out = width, kernel = 1, bias = false })
      :batch_norm(name .. ".bn1"):relu()
      :conv2d(name .. ".conv2", { out = width, kernel = 3, stride = stride, padding = 1, bias = false })
      :batch_norm(name .. ".bn2"):relu()
      :conv2d(name .. ".conv3", { out = 4 * width, kernel = 1, bias = false })
      :batch_norm(name .. ".bn3")
   return (y + shortcut(x, name, 4 * width, stride)):relu()
end

local function resnet(name, block, depths, has, lacks)
   return {
      name = name,
      input = { 3, 224, 224 },
      head = "fc",
      stages = { "conv1", "layer1", "layer2", "layer3", "layer4" },
      has = has,
      lacks = lacks,
      build = function(x, classes)
         x = x:conv2d("conv1", { out = 64, kernel = 7, stride = 2, padding = 3, bias = false })
            :batch_norm("bn1"):relu():max_pool("maxpool", { kernel = 3, stride = 2, padding = 1 })
         for stage, depth in ipairs(depths) do
            for i = 0, depth - 1 do
               local stride = (stage > 1 and i == 0) and 2 or 1
               x = block(x, ("layer%d.%d"):format(stage, i), 64 << (stage - 1), stride)
            end
         end
         return x:global_avg_pool("avgpool"):linear("fc", { out = classes })
      end,
   }
end

return {
   resnet("resnet18", basic, { 2, 2, 2, 2 },
      { { "layer4.1.conv2.weight", { 512, 512, 3, 3 } } }, { "layer1.0.conv3.weight", "layer1.2.conv1.weight" }),
   resnet("resnet34", basic, { 3, 4, 6, 3 },
      { { "layer4.2.conv2.weight", { 512, 512, 3, 3 } }, { "layer3.5.conv2.weight", { 256, 256, 3, 3 } } },
      { "layer1.0.conv3.weight", "layer3.6.conv1.weight" }),
   resnet("resnet50", bottleneck, { 3, 4, 6, 3 },
      { { "layer4.2.conv3.weight", { 2048, 512, 1, 1 } }, { "layer1.0.conv2.weight", { 64, 64, 3, 3 } } },
      { "layer3.6.conv1.weight" }),
}
