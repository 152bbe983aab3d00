-- Tries: to end well though it failed
-- Status: 1
-- Says: an error that is no text but a table

error { exit = 0, text = "BREACH" }
