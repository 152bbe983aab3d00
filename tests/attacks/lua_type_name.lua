-- Tries: to pass for a data set of Graft's
-- Status: 1
-- Says: Graft's own

setmetatable({ classes = {} }, { __name = "graft.data" })
