-- Own network with residual blocks, from scratch.
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, epochs = 40 }
local d = graft.data.folder(opt.data, { size = 64 })
local function block(x, name, out, stride)
  local y = x:conv2d(name .. ".conv1", { out = out, kernel = 3, stride = stride, padding = 1, bias = false })
             :batch_norm(name .. ".bn1"):relu()
             :conv2d(name .. ".conv2", { out = out, kernel = 3, padding = 1, bias = false })
             :batch_norm(name .. ".bn2")
  if stride ~= 1 or x.shape[1] ~= out then
    x = x:conv2d(name .. ".downsample.0", { out = out, kernel = 1, stride = stride, bias = false })
         :batch_norm(name .. ".downsample.1")
  end
  return (y + x):relu()
end
local net = graft.nn.network{ name = "mini_resnet", input = { 3, 64, 64 }, classes = d.classes,
  head = "fc", stages = { "conv1", "layer1", "layer2" },
  build = function(x)
    x = x:conv2d("conv1", { out = 32, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
    x = block(x, "layer1.0", 32, 1)
    x = block(x, "layer2.0", 64, 2)
    return x:global_avg_pool():linear("fc", { out = #d.classes })
  end }
print(net, graft.fit(net, d, { epochs = opt.epochs, optimizer = graft.adamw{ lr = 2e-3 },
                               schedule = graft.cosine{ warmup = 0.1 } }))
