-- The option prefix=: how exactly the convolutions of a frozen part are computed. Float32 unless it is named.

local core = require "graft.core"

local prefix = {}

prefix.names = { "float32", "bf16" }

-- Checks the option's value (nil: "float32"). Another precision needs a frozen part: else it would mean nothing.
function prefix.option(value, handle, who)
   value = value or "float32"
   local known = false
   for _, name in ipairs(prefix.names) do
      known = known or name == value
   end
   if value == "int8" then
      core.error("option", who .. ': prefix = "int8" is not there yet; there is "float32" (the default) and "bf16"', "bf16")
   elseif not known then
      core.error("option", ('%s: prefix must be "float32" (the default) or "bf16", got "%s"'):format(who, value),
         core.nearest(value, prefix.names))
   elseif value ~= "float32" and #core.cut(handle) == 0 then
      core.error("option", ('%s: prefix = "%s" is for the frozen part of a network, and nothing at the bottom of this one is '
         .. 'frozen; net:freeze("body")?'):format(who, value))
   elseif value ~= "float32" and handle:exact() then
      core.error("option", ('%s: prefix = "%s" and net:exact() exclude each other: exact kernels are float32; '
         .. 'net:exact(false)?'):format(who, value))
   end
   return value
end

return prefix
