-- Tries: to write a report with text of its own outside
-- Status: 1
-- Says: only into its run folder

require("graft").report({ accuracy = 0.5, loss = 0.1, classes = { { name = "* * * * * sh", precision = 0, recall = 0, support = 1 } },
   confusion = { { 1 } } }, "../outside/crontab")
