-- Tries: to be called while its error is shown
-- Status: 1
-- Says: an error that is no text but a table

error(setmetatable({}, { __tostring = function() return "BREACH" end }))
