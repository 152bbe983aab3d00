-- What the system says of this process.

local core = require "graft.core"

local process = {}

-- The most memory that it has held so far, in bytes, libraries and all; nil where the system does not say.
process.peak = core.process_peak

return process
