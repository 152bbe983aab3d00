-- The checkpoints of a run folder: last.safetensors and best.safetensors belong to the latest fit, those of fit N before it
-- lie in fit-N/. What a checkpoint says of its fit is exact to the bit.

local core = require "graft.core"

local checkpoints = {}

-- JSON keeps fifteen digits of a number, and none of infinity: fractions are written in hexadecimal, as texts.
function checkpoints.exact(value)
   if type(value) == "table" then
      local copy = {}
      for key, one in pairs(value) do
         copy[key] = checkpoints.exact(one)
      end
      return #copy > 0 and core.array(copy) or copy
   elseif math.type(value) == "float" then
      return "=" .. (value == value and ("%a"):format(value) or "nan")
   end
   return value
end

local special = { inf = math.huge, ["-inf"] = -math.huge, nan = 0 / 0, ["-nan"] = 0 / 0 }

-- The other way; null becomes nil.
function checkpoints.restore(value)
   if value == core.null then
      return nil
   elseif type(value) == "table" then
      local copy = {}
      for key, one in pairs(value) do
         copy[key] = checkpoints.restore(one)
      end
      return copy
   elseif type(value) == "string" and value:sub(1, 1) == "=" then
      local text = value:sub(2)
      return special[text] or tonumber(text)
   end
   return value
end

-- What the checkpoint in a file says; nil where there is none.
function checkpoints.record(path)
   if not core.stat(path) then
      return nil
   end
   local weights <close> = core.weights(path)
   return weights:record() or {}
end

-- The ordinal of the fit that it belongs to.
local function owner(record)
   return record and math.tointeger(tonumber(record["graft.ordinal"]))
end

-- Where this fit's files are: the folder and the record of its `last`; nil where it has none.
function checkpoints.find(folder, fit)
   for _, path in ipairs { ("%s/fit-%d"):format(folder, fit), folder } do
      local record = checkpoints.record(path .. "/last.safetensors")
      if owner(record) == fit then
         return path, record
      end
   end
end

-- Moves the files of an earlier fit into fit-N, so that the run folder's own belong to this one. It may be cut short at any
-- moment: `last`, which says whose files these are, goes last.
function checkpoints.retire(folder, fit)
   local before = owner(checkpoints.record(folder .. "/last.safetensors"))
   if not before or before == fit then
      return
   end
   local target = ("%s/fit-%d"):format(folder, before)
   core.make_folder(target)
   for _, name in ipairs { "best.safetensors", "last.safetensors" } do
      if core.stat(folder .. "/" .. name) then
         core.rename(folder .. "/" .. name, target .. "/" .. name)
      end
   end
end

return checkpoints
