-- Tiny Darknet (Redmon 2016): 16 convolutions and the mean of the last one's maps. It sees RGB / 255, the
-- short side resized to 224 and the centre cut out, and its classes are in the Darknet order, not in ImageNet's usual one.

local filters = { 16, 32, 16, 128, 16, 128, 32, 256, 32, 256, 64, 512, 64, 512, 128 }
local wide = { [1] = true, [2] = true, [4] = true, [6] = true, [8] = true, [10] = true, [12] = true, [14] = true }
local ends = { [1] = "stage1", [2] = "stage2", [6] = "stage3", [10] = "stage4", [14] = "stage5", [15] = "stage6" }

local tiny_darknet = {
   name = "tiny_darknet",
   input = { 3, 224, 224 },
   head = "conv16",
   stages = { "stage1", "stage2", "stage3", "stage4", "stage5", "stage6" },
   preprocessing = { resize = 224, mean = { 0, 0, 0 }, std = { 1, 1, 1 } },
   class_list = "darknet",
   has = { { "conv15.weight", { 128, 512, 1, 1 } }, { "conv1.weight", { 16, 3, 3, 3 } } },
   build = function(x, classes)
      for i, out in ipairs(filters) do
         local kernel = wide[i] and 3 or 1
         x = x:conv2d("conv" .. i, { out = out, kernel = kernel, padding = kernel // 2, bias = false })
            :batch_norm("bn" .. i, { eps = 1e-3 })
         local last = ends[i]
         if last and i <= 10 then
            x = x:leaky_relu { slope = 0.1 }:max_pool(last, { kernel = 2, stride = 2 })
         else
            x = x:leaky_relu(last, { slope = 0.1 })
         end
      end
      return x:conv2d("conv16", { out = classes, kernel = 1 }):global_avg_pool()
   end,
}

return { tiny_darknet }
