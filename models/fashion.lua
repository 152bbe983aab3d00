-- A small residual network for 28x28 grey pictures of clothes; models/fashion_six.safetensors holds its weights, trained by
-- scripts/recipes/train_fashion.lua on six of Fashion-MNIST's ten classes. The demo transfers it to the other four. fashion_gn
-- is the same with group norms (Wu and He, "Group normalization", 2018): its normalisation does not know of a batch, so that
-- training from scratch and fine-tuning can be compared without the statistics of a pretraining.

local GROUPS = 8

local norms = {
   bn = function(x, name)
      return x:batch_norm(name)
   end,
   gn = function(x, name)
      return x:group_norm(name, { groups = GROUPS })
   end,
}

-- The network with norms of this kind, which end the names of their layers.
local function build_with(kind)
   local norm = norms[kind]
   local function unit(x, name, out, stride)
      return norm(x:conv2d(name .. ".conv", { out = out, kernel = 3, stride = stride, padding = 1, bias = false }),
         name .. "." .. kind)
   end
   local function block(x, name, out, stride)
      local y = unit(unit(x, name .. ".0", out, stride):relu(), name .. ".1", out, 1)
      if stride ~= 1 or x.shape[1] ~= out then
         x = norm(x:conv2d(name .. ".shortcut", { out = out, kernel = 1, stride = stride, bias = false }),
            name .. ".shortcut_" .. kind)
      end
      return (y + x):relu()
   end
   return function(x, classes)
      x = unit(x, "stem", 24, 1):relu()
      x = block(x, "layer1", 24, 1)
      x = block(x, "layer2", 48, 2)
      x = block(x, "layer3", 96, 2)
      return x:global_avg_pool():linear("fc", { out = classes })
   end
end

local function fashion(name, kind)
   return {
      name = name,
      input = { 1, 28, 28 },
      head = "fc",
      stages = { "stem", "layer1", "layer2", "layer3" },
      preprocessing = { stretch = true, mean = { 0.286 }, std = { 0.353 } },
      has = { { "layer3.1.conv.weight", { 96, 96, 3, 3 } }, { "stem.conv.weight", { 24, 1, 3, 3 } },
         { "stem." .. kind .. ".weight", { 24 } } },
      build = build_with(kind),
   }
end

return { fashion("fashion", "bn"), fashion("fashion_gn", "gn") }
