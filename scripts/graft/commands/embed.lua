-- graft embed MODEL IMAGES --at LAYER --out FILE.npy

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local network = require "graft.network"
local predict = require "graft.commands.predict"

local command = {}

function command.main(args)
   local given, rest = options.read(args, { at = { type = "string" }, pool = { type = "choice",
      choices = { "avg", "max" } }, normalize = { type = "boolean" } }, "graft embed")
   local out = context.options_out
   if #rest < 2 or not out then
      options.usage("graft embed needs a model, photos and a file: graft embed MODEL IMAGES --at LAYER --out FILE.npy")
   end
   local net = network.load(rest[1])
   local files = predict.images(rest, 2)
   if #files == 0 then
      core.error("data", rest[2] .. ": there is no photo (.jpg, .png) in it")
   end
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
