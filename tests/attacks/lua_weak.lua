-- Tries: to watch the collector
-- Status: 1
-- Says: the metamethod __mode is not there

setmetatable({}, { __mode = "k" })
