-- What the system says of this process.

local process = {}

-- The most memory that it has held so far, in bytes, libraries and all; nil where the system does not say.
function process.peak()
   local file <close> = io.open("/proc/self/status")
   local text = file and file:read "a" or ""
   local kilobytes = text:match "VmHWM:%s*(%d+) kB"
   return kilobytes and tonumber(kilobytes) * 1024
end

return process
