-- graft.embed: pooled features of photos at one layer.

local core = require "graft.core"
local strict = require "graft.strict"
local data = require "graft.data"
local network = require "graft.network"
local prefix = require "graft.prefix"

local embed = {}

local keys = { at = "string", pool = "string", normalize = "boolean", batch_size = "integer",
   prefix = "string" }

-- The layer that feeds the classifier: the end of the last stage, or what the head reads.
local function default_layer(handle)
   local stages = handle:stages()
   if #stages == 0 then
      core.error("option", "graft.embed: this network names no stages; say at = \"LAYER\"")
   end
   return stages[#stages]
end

-- Batches [N,3,H,W] of a list of files.
local function file_batches(handle, files, size)
   local i = 0
   return function()
      local images, names = {}, {}
      while i < #files and #images < size do
         i = i + 1
         images[#images + 1] = core.preprocess(handle, files[i])
         names[#names + 1] = files[i]
      end
      if #images > 0 then
         return core.tensor.concat(images, 1), names
      end
   end
end

-- graft.embed(net, set|files, {at=, pool="avg"|"max", normalize=false, prefix=}) -> E [N,D], info {files=, classes=}
function embed.embed(net, set, options)
   local who = "graft.embed"
   local handle = network.handle(net, who)
   options = strict.options(options, who, keys)
   local pool = options.pool or "avg"
   if pool ~= "avg" and pool ~= "max" then
      core.error("option", ('%s: pool must be "avg" or "max", got %q'):format(who, pool))
   end
   local precision = prefix.option(options.prefix, handle, who)
   local at = network.layer_end(handle, who, options.at or default_layer(handle))
   local all, info
   if data.is_set(set) then -- from kept features of the frozen part, where there are any
      local found, photos = core.pooled(handle, data.handle(set, who), { at }, { pool = pool, prefix = precision })
      all, info = found[1], { files = photos.files, classes = photos.classes }
   elseif precision ~= "float32" and type(set) == "table" then
      core.error("option", ('%s: prefix = "%s" is for a set such as data.train, not for a list of files'):format(who, precision))
   elseif type(set) == "table" and not data.is(set) then
      local parts = {}
      info = { files = {}, classes = {} }
      for x, names in file_batches(handle, strict.list(set, "string", who .. ": the files"), options.batch_size or 32) do
         core.check_interrupt()
         local features = handle:forward(x, { at })[1]
         parts[#parts + 1] = core.pool(features, { pool = pool })
         table.move(names, 1, #names, #info.files + 1, info.files)
      end
      all = #parts == 1 and parts[1] or #parts > 0 and core.tensor.concat(parts, 1)
   else
      core.error("option", who .. ": expected a set such as data.train, or a list of files")
   end
   if #info.files == 0 then
      core.error("data", who .. ": no photo to embed")
   end
   if options.normalize then
      all = all / (((all * all):sum(2, true)) ^ 0.5 + 1e-12)
   end
   return all, strict.table(info, "info")
end

return embed
