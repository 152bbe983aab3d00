-- Gradual unfreezing, three phases, any architecture.
local graft = require "graft"
local opt = graft.options{
  data    = { type = "folder", help = "photos, one folder a class" },
  weights = { type = "file",   help = "pretrained weights" },
  epochs = 20, batch_size = 32, lr = 0.01 }
local d = graft.data.folder(opt.data, { val = 0.2 })
local net = graft.load(opt.weights):replace_head(d.classes)
for phase = 0, 2 do
  net:freeze("body")
  for i = #net.stages, #net.stages - phase + 1, -1 do net:unfreeze(net.stages[i]) end
  graft.fit(net, d, { name = "top " .. phase, epochs = ({ 3, 4, 8 })[phase + 1], patience = 3, augment = "light",
    optimizer = graft.adamw{ lr = 1e-3 / 3^phase }, on_epoch = function(row)
      if row.val_accuracy == 1 then return "stop" end
    end })
end
