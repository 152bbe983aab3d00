-- Tries: to pass for an interrupt, or for a run that was compared
-- Status: 1
-- Says: graft.load

local failure = select(2, pcall(require("graft").load, 1))
failure.kind, failure.exit, failure.text = "interrupt", 3, "BREACH"
error(failure)
