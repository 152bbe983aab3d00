-- graft plan RECIPE [OPTIONS]: the same file and options as run; trains nothing.

local core = require "graft.core"
local context = require "graft.context"
local output = require "graft.output"
local recipe = require "graft.recipe"
local run = require "graft.commands.run"
local sandbox = require "graft.sandbox"

local command = {}

function command.main(args, given)
   local name, rest = run.recipe_and_options(args, "plan")
   if sandbox.wanted(given) then
      return sandbox.command("plan", name, rest, given)
   end
   context.mode, context.planning = "plan", true
   require("graft").mode = "plan"
   local chunk = recipe.load(name, rest, given.help)
   local ok, failure = pcall(chunk)
   local stopped
   if not ok then
      stopped = type(failure) == "table" and rawget(failure, "planned")
      if not stopped then
         error(failure, 0)
      end
   end
   recipe.check_options()
   if context.json then
      local phases = context.phases or {}
      local document = phases[#phases] or { layers = core.array {} }
      document.phases = #phases
      for _, row in ipairs(document.layers) do -- every row has every key
         for _, key in ipairs { "lr_scale", "batch_norm", "source", "candidates", "stash" } do
            row[key] = row[key] == nil and core.null or row[key]
         end
      end
      output.raw(core.json(document, 2) .. "\n")
      return 0
   end
   if stopped then
      print(("The recipe reads %s next, which only training can tell: the plan ends here."):format(stopped))
   end
   print(context.phases and "Nothing was trained or written." or "This recipe trains nothing.")
   return 0
end

return command
