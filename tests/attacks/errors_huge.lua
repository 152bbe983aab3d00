-- Tries: to flood the terminal with one error
-- Status: 1
-- Says: flood flood

error(("flood "):rep(1e6))
