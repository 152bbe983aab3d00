-- graft convert IN OUT: weights between formats

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"

local command = {}

command.options = {
   arch = { type = "string", help = "the architecture, where it is not recognised" },
   force = { type = "boolean", help = "replaces OUT when it is there already" },
}

function command.main(args)
   local given, rest = options.read(args, command.options, "graft convert")
   if #rest ~= 2 then
      options.usage("graft convert needs two files: graft convert IN OUT.safetensors")
   end
   local from, to = rest[1], rest[2]
   if not to:match("%.safetensors$") then
      core.error("file", ("%s: Graft writes .safetensors; other formats are read only"):format(to))
   end
   if core.stat(to) and not given.force then
      core.error("file", to .. " exists already; --force replaces it")
   end
   local weights <close> = core.weights(from)
   local tensors = weights:tensors()
   local recognised = require("graft.models").recognise(tensors, given.arch)
   local kind
   if recognised or weights:metadata()["graft.network"] then
      local net = require("graft.network").load(from, { arch = given.arch })
      net:save(to, { aux = true })
      kind = "a model of " .. net.name
   else
      local list = {}
      for i, tensor in ipairs(tensors) do
         list[i] = { tensor.name, weights:get(tensor.name) }
      end
      core.save_weights(to, list, { source = from:match("[^/]+$") })
      kind = "plain weights (no architecture that Graft knows)"
   end
   local size = core.stat(to).size
   if context.json then
      print(core.json({ from = from, to = to, tensors = #tensors, bytes = size }, 2))
   else
      print(("%s: %s, %s, %s"):format(to, kind, format.plural(#tensors, "tensor"), format.bytes(size)))
   end
   return 0
end

return command
