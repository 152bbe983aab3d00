-- GoogLeNet (Szegedy et al. 2014) with its two auxiliary classifiers, named and built as in torchvision: batch norm
-- (eps 1e-3) after every convolution, and 3x3 where the paper has 5x5.

local function unit(x, name, options)
   options.bias = false
   return x:conv2d(name .. ".conv", options):batch_norm(name .. ".bn", { eps = 1e-3 }):relu()
end

local function inception(x, name, one, three_in, three, five_in, five, pooled)
   return require("graft.nn").concat {
      unit(x, name .. ".branch1", { out = one, kernel = 1 }),
      unit(unit(x, name .. ".branch2.0", { out = three_in, kernel = 1 }), name .. ".branch2.1",
         { out = three, kernel = 3, padding = 1 }),
      unit(unit(x, name .. ".branch3.0", { out = five_in, kernel = 1 }), name .. ".branch3.1",
         { out = five, kernel = 3, padding = 1 }),
      unit(x:max_pool { kernel = 3, stride = 1, padding = 1, ceil = true }, name .. ".branch4.1",
         { out = pooled, kernel = 1 }),
   }
end

local function auxiliary(x, name, classes)
   x = unit(x:adaptive_avg_pool { size = 4 }, name .. ".conv", { out = 128, kernel = 1 })
   return x:flatten():linear(name .. ".fc1", { out = 1024 }):relu():dropout(name .. ".dropout", 0.7)
      :linear(name .. ".fc2", { out = classes })
end

local googlenet = {
   name = "googlenet",
   input = { 3, 224, 224 },
   head = "fc",
   stages = { "maxpool1", "maxpool2", "maxpool3", "maxpool4", "inception5a", "inception5b" },
   -- its weights come from TensorFlow, which trained it on values from -1 to 1
   preprocessing = { resize = 256, mean = { 0.5, 0.5, 0.5 }, std = { 0.5, 0.5, 0.5 } },
   has = { { "inception5b.branch1.conv.weight", { 384, 832, 1, 1 } } },
   build = function(x, classes)
      local half = { kernel = 3, stride = 2, ceil = true }
      x = unit(x, "conv1", { out = 64, kernel = 7, stride = 2, padding = 3 }):max_pool("maxpool1", half)
      x = unit(unit(x, "conv2", { out = 64, kernel = 1 }), "conv3", { out = 192, kernel = 3, padding = 1 })
         :max_pool("maxpool2", half)
      x = inception(x, "inception3a", 64, 96, 128, 16, 32, 32)
      x = inception(x, "inception3b", 128, 128, 192, 32, 96, 64):max_pool("maxpool3", half)
      local first = inception(x, "inception4a", 192, 96, 208, 16, 48, 64)
      x = inception(first, "inception4b", 160, 112, 224, 24, 64, 64)
      x = inception(x, "inception4c", 128, 128, 256, 24, 64, 64)
      local second = inception(x, "inception4d", 112, 144, 288, 32, 64, 64)
      x = inception(second, "inception4e", 256, 160, 320, 32, 128, 128)
         :max_pool("maxpool4", { kernel = 2, stride = 2, ceil = true })
      x = inception(x, "inception5a", 256, 160, 320, 32, 128, 128)
      x = inception(x, "inception5b", 384, 192, 384, 48, 128, 128)
      local logits = x:global_avg_pool("avgpool"):dropout("dropout", 0.2):linear("fc", { out = classes })
      return logits, {
         { at = "inception4a", output = auxiliary(first, "aux1", classes), weight = 0.3 },
         { at = "inception4d", output = auxiliary(second, "aux2", classes), weight = 0.3 },
      }
   end,
}

return { googlenet }
