-- graft probe MODEL DATA

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local network = require "graft.network"
local plot = require "graft.plot"
local page = require "graft.page"
local probes = require "graft.probe"
local advise = require "graft.advise"

local command = {}

local MOST = 1 << 20 -- bytes of a recipe that is looked at

command.options = {
   at = { type = "string", value = "LAYERS", help = "layers or stages, with commas between (default: the stages)" },
   folds = { type = "integer", min = 2, default = 5, help = "parts that are held out in turn" },
   fractions = { type = "string", value = "LIST", default = "0.1,0.3,1", help = "parts of the photos to learn from" },
   pool = { type = "string", value = "HOW", default = "avg", help = "over the pixels of a map: avg, max, avg+max or grid=K" },
   arch = { type = "string", help = "the architecture, where it is not recognised" },
   write = { type = "file", help = "the recipe that is recommended, as .lua" },
   plot = { type = "file", help = "the plots, as .svg (accuracy by depth) or .html" },
}

local function split(text)
   local parts = {}
   for part in text:gmatch "[^,%s]+" do
      parts[#parts + 1] = part
   end
   return parts
end

local function fractions_of(text)
   local fractions = {}
   for i, part in ipairs(split(text)) do
      local value = tonumber(part)
      if not value or not (value > 0 and value <= 1) then
         options.usage(("--fractions: expected numbers above 0 and at most 1 with commas between, got %q"):format(text))
      end
      fractions[i] = value
   end
   return fractions
end

local function draw(probe, file)
   local ending = file:lower():match "%.(%w+)$"
   if ending == "svg" then
      core.write(file, plot.svg(probes.chart(probes.details(probe))))
   else
      core.write(file, page.html(require "graft.pages.probe"(probe)))
   end
end

-- A recipe of somebody's own is not written over; one that this command wrote is.
local function check_recipe(path)
   local stat = core.stat(path)
   if stat and stat.size > 0 and (stat.kind ~= "file" or not core.read(path, MOST):find(advise.signature, 1, true)) then
      core.error("file", path .. " exists already, and graft probe did not write it; choose another name for --write")
   end
end

local function check(given)
   if given.plot and not given.plot:lower():match "%.svg$" and not given.plot:lower():match "%.html?$" then
      options.usage(("--plot: expected a file that ends in .svg or .html, got %q"):format(given.plot))
   elseif given.write and not given.write:lower():match "%.lua$" then
      options.usage(("--write: expected a file that ends in .lua, got %q"):format(given.write))
   end
   if given.write then
      check_recipe(given.write)
   end
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft probe")
   if #rest ~= 2 then
      options.usage("graft probe needs a network and photos: graft probe MODEL DATA")
   end
   check(given)
   local net = network.load(network.of_run(rest[1]), { arch = given.arch })
   local d = require("graft.commands.eval").open_data(rest[2])
   local probe = probes.probe(net, d, { at = given.at and split(given.at), folds = given.folds,
      fractions = given.fractions and fractions_of(given.fractions), pool = given.pool })
   local advice = advise.advise(probe)
   if given.plot then
      draw(probe, given.plot)
   end
   if given.write then
      core.write(given.write, advice:recipe())
   end
   if context.json then
      local document = probes.json(probe)
      document.advice = advise.json(advice)
      print(core.json(document, 2))
      return 0
   end
   print(probe)
   print()
   print(advise.text(advice, { written = given.write, data = rest[2], weights = rest[1] }))
   if given.plot then
      print("plots         " .. given.plot)
   end
   return 0
end

return command
