-- graft embed MODEL IMAGES --at LAYER --out FILE.npy

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local network = require "graft.network"
local predict = require "graft.commands.predict"

local command = {}

command.options = {
   at = { type = "string", help = "layer or stage (default: what the classifier reads)" },
   out = { type = "file", help = "the features, as .npy; their files' names go beside it" },
   pool = { type = "choice", choices = { "avg", "max" }, help = "over the pixels of a map (default avg)" },
   normalize = { type = "boolean", help = "features of length 1" },
}

function command.main(args)
   local given, rest = options.read(args, command.options, "graft embed")
   local out = context.options_out
   if #rest < 2 or not out then
      options.usage("graft embed needs a model, photos and a file: graft embed MODEL IMAGES --at LAYER --out FILE.npy")
   end
   if not out:lower():find("%.npy$") then
      options.usage(("graft embed: --out is a .npy file, the format of NumPy; got %q: --out %s.npy?"):format(out,
         (out:gsub("%.%w+$", ""))))
   end
   local net = network.load(network.of_run(rest[1]))
   local files = predict.images(rest, 2)
   local features, info = require("graft.embed").embed(net, files, given)
   features:save(out)
   local list = (out:gsub("%.npy$", "")) .. ".files.txt"
   core.write(list, table.concat(info.files, "\n") .. "\n")
   if context.json then
      print(core.json({ out = out, files = list, shape = core.array(features.shape) }, 2))
   else
      print(("%s: %s of %d numbers each; their names: %s"):format(out, format.plural(#files, "photo"), features.shape[2],
         list))
   end
   return 0
end

return command
