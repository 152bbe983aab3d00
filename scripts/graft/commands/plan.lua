-- graft plan RECIPE [OPTIONS]: the same file and options as run; trains nothing.

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local output = require "graft.output"
local plan = require "graft.plan"
local recipe = require "graft.recipe"
local run = require "graft.commands.run"
local sandbox = require "graft.sandbox"

local command = {}

function command.main(args, given)
   local own, words = options.read(args, options.of_plan, "graft plan", false)
   local name, rest = run.recipe_and_options(words, "plan")
   if sandbox.wanted(given) then
      return sandbox.command("plan", name, rest, given)
   end
   context.mode, context.planning, context.every_layer = "plan", true, own.layers
   require("graft").mode = "plan"
   local chunk = recipe.load(name, rest, given.help)
   local ok, failure = pcall(chunk)
   local stopped
   if not ok then
      stopped = type(failure) == "table" and rawget(failure, "planned")
      if not stopped then
         if not context.json then
            plan.tell(false)
         end
         error(failure, 0)
      end
   end
   recipe.check_options()
   if context.json then
      output.raw(core.json(plan.document(context.phases or {}), 2) .. "\n")
      return 0
   end
   plan.tell(not stopped)
   local total = plan.total(context.phases or {})
   if total then
      print(total)
   end
   if stopped then
      print(("The recipe reads %s next, which only training can tell: the plan ends here."):format(stopped))
   end
   print((context.phases or stopped) and "Nothing was trained or written." or "This recipe trains nothing.")
   return 0
end

return command
