-- Tiny Darknet (Redmon 2016): 16 convolutions and the mean of the last one's maps. It sees RGB / 255, stretched to the
-- input size, and its classes are in the Darknet order, not in ImageNet's usual one.

local filters = { 16, 32, 16, 128, 16, 128, 32, 256, 32, 256, 64, 512, 64, 512, 128 }
local wide = { [1] = true, [2] = true, [4] = true, [6] = true, [8] = true, [10] = true, [12] = true, [14] = true }
local pools = { [1] = "pool1", [2] = "pool2", [6] = "pool3", [10] = "pool4" }

local tiny_darknet = {
   name = "tiny_darknet",
   input = { 3, 224, 224 },
   head = "conv16",
   stages = { "pool1", "pool2", "pool3", "pool4", "conv14", "conv15" },
   preprocessing = { stretch = true, mean = { 0, 0, 0 }, std = { 1, 1, 1 } },
   class_list = "darknet",
   has = { { "conv15.weight", { 128, 512, 1, 1 } }, { "conv1.weight", { 16, 3, 3, 3 } } },
   build = function(x, classes)
      for i, out in ipairs(filters) do
         local kernel = wide[i] and 3 or 1
         x = x:conv2d("conv" .. i, { out = out, kernel = kernel, padding = kernel // 2, bias = false })
            :batch_norm("bn" .. i, { eps = 1e-3 }):leaky_relu { slope = 0.1 }
         if pools[i] then
            x = x:max_pool(pools[i], { kernel = 2, stride = 2 })
         end
      end
      return x:conv2d("conv16", { out = classes, kernel = 1 }):global_avg_pool()
   end,
}

return { tiny_darknet }
