-- EfficientNet-Lite (Google 2020): no squeeze-excite, ReLU6, TensorFlow's "same" padding (the odd pixel goes to the
-- bottom and right) and its batch norm (eps 1e-3). Named as in timm; the PyPI packages' names are understood too.

local settings = { -- kernel, stride, expansion, channels, blocks
   { 3, 1, 1, 16, 1 }, { 3, 2, 6, 24, 2 }, { 5, 2, 6, 40, 2 }, { 3, 2, 6, 80, 3 }, { 5, 1, 6, 112, 3 },
   { 5, 2, 6, 192, 4 }, { 3, 1, 6, 320, 1 },
}

local function norm(x, name)
   return x:batch_norm(name, { eps = 1e-3, momentum = 0.01 })
end

-- Channels are rounded to multiples of 8, never down by more than a tenth.
local function rounded(channels, width)
   local wanted = channels * width
   local result = math.max(8, (wanted + 4) // 8 * 8)
   return math.tointeger(result < 0.9 * wanted and result + 8 or result)
end

-- Blocks a stage: the first and the last stage keep theirs.
local function blocks_of(depth, stage)
   local count = settings[stage][5]
   return (stage == 1 or stage == #settings) and count or math.ceil(count * depth)
end

local function block(x, name, s, out, stride)
   local kernel, expansion = s[1], s[3]
   local wide = x.shape[1] * expansion
   local depthwise = { out = wide, kernel = kernel, stride = stride, groups = wide, padding = "same", bias = false }
   local y
   if expansion == 1 then
      y = norm(x:conv2d(name .. ".conv_dw", depthwise), name .. ".bn1"):relu6()
      y = norm(y:conv2d(name .. ".conv_pw", { out = out, kernel = 1, bias = false }), name .. ".bn2")
   else
      y = norm(x:conv2d(name .. ".conv_pw", { out = wide, kernel = 1, bias = false }), name .. ".bn1"):relu6()
      y = norm(y:conv2d(name .. ".conv_dw", depthwise), name .. ".bn2"):relu6()
      y = norm(y:conv2d(name .. ".conv_pwl", { out = out, kernel = 1, bias = false }), name .. ".bn3")
   end
   return (stride == 1 and x.shape[1] == out) and x + y or y
end

-- "_blocks.3._expand_conv.weight" and the like -> timm's "blocks.2.0.conv_pw.weight"
local function renamer(depth)
   local place, count = {}, 0
   for stage = 1, #settings do
      for i = 0, blocks_of(depth, stage) - 1 do
         place[count] = { stage - 1, i }
         count = count + 1
      end
   end
   local wide = { _expand_conv = "conv_pw", _bn0 = "bn1", _depthwise_conv = "conv_dw", _bn1 = "bn2",
      _project_conv = "conv_pwl", _bn2 = "bn3" }
   local first = { _depthwise_conv = "conv_dw", _bn1 = "bn1", _project_conv = "conv_pw", _bn2 = "bn2" }
   local top = { _conv_stem = "conv_stem", _bn0 = "bn1", _conv_head = "conv_head", _bn1 = "bn2", _fc = "classifier" }
   return function(name)
      local index, part, rest = name:match("^_blocks%.(%d+)%.([%w_]+)(%..*)$")
      if index then
         local at = place[math.tointeger(tonumber(index))]
         local new = at and (at[1] == 0 and first or wide)[part]
         return new and ("blocks.%d.%d.%s%s"):format(at[1], at[2], new, rest) or name
      end
      part, rest = name:match("^(_[%w_]+)(%..*)$")
      return part and top[part] and top[part] .. rest or name
   end
end

local function lite(name, width, depth, size, has)
   local last = ("blocks.5.%d"):format(blocks_of(depth, 6) - 1)
   return {
      name = name,
      input = { 3, size, size },
      head = "classifier",
      stages = { "conv_stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6",
         "conv_head" },
      preprocessing = { resize = size + 32, interpolation = "bicubic",
         mean = { 127 / 255, 127 / 255, 127 / 255 }, std = { 128 / 255, 128 / 255, 128 / 255 } },
      has = { { last .. ".conv_pwl.weight", has }, { "conv_head.weight", { 1280, 320, 1, 1 } } },
      lacks = { ("blocks.5.%d.conv_pwl.weight"):format(blocks_of(depth, 6)) },
      rename = renamer(depth),
      build = function(x, classes)
         x = norm(x:conv2d("conv_stem", { out = 32, kernel = 3, stride = 2, padding = "same", bias = false }), "bn1")
            :relu6()
         for stage, s in ipairs(settings) do
            for i = 0, blocks_of(depth, stage) - 1 do
               x = block(x, ("blocks.%d.%d"):format(stage - 1, i), s, rounded(s[4], width), i == 0 and s[2] or 1)
            end
         end
         x = norm(x:conv2d("conv_head", { out = 1280, kernel = 1, bias = false }), "bn2"):relu6()
         return x:global_avg_pool("global_pool"):dropout("dropout", 0.2):linear("classifier", { out = classes })
      end,
   }
end

local lite0 = lite("efficientnet_lite0", 1.0, 1.0, 224, { 192, 1152, 1, 1 })
local lite1 = lite("efficientnet_lite1", 1.0, 1.1, 240, { 192, 1152, 1, 1 })
local lite2 = lite("efficientnet_lite2", 1.1, 1.2, 260, { 208, 1248, 1, 1 })
lite2.has[2] = { "conv_head.weight", { 1280, 352, 1, 1 } }

return { lite0, lite1, lite2 }
