-- A small residual network for 28x28 grey pictures of clothes; models/fashion_six.safetensors holds its weights,
-- trained by models/train_fashion.lua on six of Fashion-MNIST's ten classes. The demo transfers it to the other four.

local function unit(x, name, out, stride)
   return x:conv2d(name .. ".conv", { out = out, kernel = 3, stride = stride, padding = 1, bias = false })
      :batch_norm(name .. ".bn")
end

local function block(x, name, out, stride)
   local y = unit(unit(x, name .. ".0", out, stride):relu(), name .. ".1", out, 1)
   if stride ~= 1 or x.shape[1] ~= out then
      x = x:conv2d(name .. ".shortcut", { out = out, kernel = 1, stride = stride, bias = false })
         :batch_norm(name .. ".shortcut_bn")
   end
   return (y + x):relu()
end

local fashion = {
   name = "fashion",
   input = { 1, 28, 28 },
   head = "fc",
   stages = { "stem", "layer1", "layer2", "layer3" },
   preprocessing = { stretch = true, mean = { 0.286 }, std = { 0.353 } },
   has = { { "layer3.1.conv.weight", { 96, 96, 3, 3 } }, { "stem.conv.weight", { 24, 1, 3, 3 } } },
   build = function(x, classes)
      x = unit(x, "stem", 24, 1):relu()
      x = block(x, "layer1", 24, 1)
      x = block(x, "layer2", 48, 2)
      x = block(x, "layer3", 96, 2)
      return x:global_avg_pool():linear("fc", { out = classes })
   end,
}

return { fashion }
