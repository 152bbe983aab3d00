-- Tries: to open its own globals
-- Status: 1
-- Says: metatable is protected

setmetatable(_G, nil)
