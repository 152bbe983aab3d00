-- The option prefix=: how exactly the convolutions of a frozen part are computed. Float32 unless it is named.

local core = require "graft.core"

local prefix = {}

prefix.names = { "float32", "bf16", "int8" }

-- Checks the option's value (nil: "float32"), whatever is frozen.
function prefix.known(value, handle, who)
   value = value or "float32"
   local known = false
   for _, name in ipairs(prefix.names) do
      known = known or name == value
   end
   if not known then
      core.error("option", ('%s: prefix must be "float32" (the default), "bf16" or "int8", got "%s"'):format(who, value),
         core.nearest(value, prefix.names))
   elseif value ~= "float32" and handle:exact() then
      core.error("option", ('%s: prefix = "%s" and net:exact() exclude each other: exact kernels are float32; '
         .. 'net:exact(false)?'):format(who, value))
   end
   return value
end

-- The same for a network that is about to train or to be evaluated: another precision needs a frozen part, else it would
-- mean nothing.
function prefix.option(value, handle, who)
   value = prefix.known(value, handle, who)
   if value ~= "float32" and #core.cut(handle) == 0 then
      core.error("option", ('%s: prefix = "%s" is for the frozen part of a network, and nothing at the bottom of this one is '
         .. 'frozen; net:freeze("body")?'):format(who, value))
   end
   return value
end

return prefix
