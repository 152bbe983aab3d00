-- What the running program knows about itself: mode, recipe, options, run folder. One a Lua state.

local core = require "graft.core"

local context = {
   mode = core.program and "prompt" or "module", -- "run", "plan", "prompt" or "module"
   planning = false,
   interactive = false, -- somebody types at the prompt: Ctrl-C ends a fit, not the session
   quiet = not core.program,
   json = false,
   progress = nil, -- true or false once graft.config said so
   recipe = nil, -- {name=, path=, text=}
   pack = nil, -- the terms of the pack that the recipe came in (graft.pack)
   options = { args = {}, who = "this program" }, -- what graft.options reads
   weights = {}, -- files that graft.load has read: {file=, sha256=}
   data = nil, -- data sets that were opened
   reports = setmetatable({}, { __mode = "k" }), -- network -> what its weights file left missing or unused
   runs = {}, -- what fits gave, in order: {run=, document = JSON, digest=, seconds=, peak_memory=}; a recipe can change `run`
   features = nil, -- under graft plan: what fits would leave remembered: {key=, bytes=}
   modes = {}, -- of each fit, for the lock: {fit=, exact=, stash=, prefix=, name=, epochs=, digest=}
   told_resume = nil, -- an interrupted fit has said how to go on
   trial = nil, -- of a study, while one runs: {photos = what its last fit trained on}
   locked = nil, -- the lock that --locked named
   listed = setmetatable({}, { __mode = "k" }), -- data set -> run folder that has the digests of its photos
   out = nil, -- run folder, once it exists
}

-- Ends a recipe from within, with a value that no pcall of the recipe may catch: {exit=, text=} or {planned=}.
function context.finish(value)
   context.ending = value
   error(value, 0)
end

-- A line for the user beside the results: stderr, and only where progress is shown.
function context.note(text)
   if context.progress or (context.progress == nil and not context.quiet) then
      io.stderr:write("note: ", text, "\n")
   end
end

return context
