-- graft run RECIPE [OPTIONS]

local core = require "graft.core"
local process = require "graft.process"
local context = require "graft.context"
local options = require "graft.options"
local output = require "graft.output"
local recipe = require "graft.recipe"
local run_folder = require "graft.run_folder"
local sandbox = require "graft.sandbox"

local command = {}

-- Splits the recipe's name from its options.
function command.recipe_and_options(args, what)
   local name = args[1]
   if not name or name:match("^%-") then
      options.usage(("graft %s needs a recipe: graft %s RECIPE.lua [OPTIONS], or a name from graft help recipes"):format(
         what, what))
   end
   return name, table.move(args, 2, #args, 1, {})
end

-- The JSON document of a run; the last fit's keys are repeated at the top level.
local function document(seconds)
   local fits, skipped = {}, {}
   for i, done in ipairs(context.runs) do
      fits[i] = core.parse_json(done.document)
   end
   for _, handle in ipairs(context.data or {}) do
      for _, file in ipairs(handle:skipped()) do
         skipped[#skipped + 1] = file
      end
   end
   local last = context.runs[#context.runs]
   local result = last and core.parse_json(last.document) or {}
   result.out, result.seed, result.threads = context.out or core.null, core.seed(), core.threads()
   result.seconds, result.peak_memory = seconds, core.memory().peak
   result.process_memory = process.peak() or core.null
   result.skipped, result.digest, result.fits = core.array(skipped), last and last.digest or core.null, core.array(fits)
   return result
end

function command.main(args, given)
   local name, rest = command.recipe_and_options(args, "run")
   if sandbox.wanted(given) then
      return sandbox.command("run", name, rest, given)
   end
   context.mode = "run"
   require("graft").mode = "run"
   local started = core.clock()
   local chunk = recipe.load(name, rest, given.help)
   chunk()
   recipe.check_options()
   run_folder.finish()
   if context.json then
      output.raw(core.json(document(core.clock() - started), 2) .. "\n")
   end
   return 0
end

return command
