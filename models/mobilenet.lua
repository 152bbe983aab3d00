-- MobileNet v2 (Sandler et al. 2018), named as in torchvision.

local settings = { -- expansion, channels, blocks, stride of the first
   { 1, 16, 1, 1 }, { 6, 24, 2, 2 }, { 6, 32, 3, 2 }, { 6, 64, 4, 2 }, { 6, 96, 3, 1 }, { 6, 160, 3, 2 },
   { 6, 320, 1, 1 },
}

-- convolution, batch norm, relu6 as the modules NAME.0 and NAME.1
local function unit(x, name, options)
   options.bias = false
   options.padding = (options.kernel - 1) // 2
   return x:conv2d(name .. ".0", options):batch_norm(name .. ".1"):relu6()
end

local function inverted_residual(x, name, expansion, out, stride)
   local y, i, wide = x, 0, x.shape[1] * expansion
   if expansion ~= 1 then
      y = unit(y, name .. ".conv.0", { out = wide, kernel = 1 })
      i = 1
   end
   y = unit(y, name .. ".conv." .. i, { out = wide, kernel = 3, stride = stride, groups = wide })
      :conv2d(name .. ".conv." .. i + 1, { out = out, kernel = 1, bias = false })
      :batch_norm(name .. ".conv." .. i + 2)
   if stride == 1 and x.shape[1] == out then
      return x + y
   end
   return y
end

local stages = {}
for i = 0, 18 do
   stages[i + 1] = "features." .. i
end

local mobilenet_v2 = {
   name = "mobilenet_v2",
   input = { 3, 224, 224 },
   head = "classifier.1",
   stages = stages,
   has = { { "features.18.0.weight", { 1280, 320, 1, 1 } }, { "features.2.conv.0.0.weight", { 96, 16, 1, 1 } } },
   build = function(x, classes)
      x = unit(x, "features.0", { out = 32, kernel = 3, stride = 2 })
      local index = 1
      for _, s in ipairs(settings) do
         for i = 1, s[3] do
            x = inverted_residual(x, "features." .. index, s[1], s[2], i == 1 and s[4] or 1)
            index = index + 1
         end
      end
      return unit(x, "features." .. index, { out = 1280, kernel = 1 })
         :global_avg_pool("avgpool"):dropout("classifier.0", 0.2):linear("classifier.1", { out = classes })
   end,
}

return { mobilenet_v2 }
