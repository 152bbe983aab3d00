-- `graft`: what `require "graft"` returns, in recipes, at the prompt and in stock Lua.

local core = require "graft.core"
local context = require "graft.context"
local strict = require "graft.strict"
local data = require "graft.data"
local network = require "graft.network"
local models = require "graft.models"
local descriptions = require "graft.descriptions"
local trainer = require "graft.trainer"
local nn = require "graft.nn"
local tensors = core.tensor

local graft = {
   version = core.version,
   tensor = tensors.tensor,
   data = strict.table({ folder = data.folder, csv = data.csv, idx = data.idx, list = data.list }, "graft.data"),
   models = models.constructors,
   nn = strict.table({ network = nn.network, layer = nn.layer, concat = nn.concat, check = nn.check,
      cross_entropy = nn.cross_entropy, binary_cross_entropy = nn.binary_cross_entropy, mse = nn.mse }, "graft.nn"),
   augment = strict.table(descriptions.augment, "graft.augment"),
   load = network.load,
   trainer = trainer.new,
   evaluate = trainer.evaluate,
   mode = context.mode,
}

-- Constructors of tensors and the joins, under their own names too: graft.zeros(2, 3).
for _, name in ipairs { "zeros", "ones", "full", "eye", "rand", "randn", "range", "arange", "linspace", "concat", "cat",
   "stack" } do
   graft[name] = tensors[name]
end

for name, make in pairs(descriptions.optimizer) do
   graft[name] = make
end
for name, make in pairs(descriptions.schedule) do
   graft[name] = make
end

-- graft.seed(n): every random stream of the run derives from it. The command line's --seed wins.
function graft.seed(n)
   strict.check(n, "integer", "graft.seed")
   if not context.seed_is_fixed then
      core.seed(n)
   end
   return core.seed()
end

function graft.options(declared)
   return require("graft.options").declare(declared, context.options)
end

function graft.out(name)
   strict.check(name, "string", "graft.out")
   return require("graft.run_folder").path(name)
end

function graft.fit(net, d, options)
   return require("graft.fit").fit(net, d, options)
end

function graft.fine_tune(net, d, options)
   return require("graft.fit").fine_tune(net, d, options)
end

function graft.lr_find(net, d, options)
   return require("graft.lr_find").find(net, d, options)
end

function graft.plan(net, d, options)
   return require("graft.plan").print(net, d, options)
end

function graft.embed(net, set, options)
   return require("graft.embed").embed(net, set, options)
end

function graft.exciting(net, set, options)
   return require("graft.looking").exciting(net, set, options)
end

function graft.neighbours(net, set, image, options)
   return require("graft.looking").neighbours(net, set, image, options)
end

function graft.map(subject, set, options)
   return require("graft.feature_map").make(subject, set, options)
end

function graft.probe(net, d, options)
   return require("graft.probe").probe(net, d, options)
end

function graft.advise(probe)
   return require("graft.advise").advise(probe)
end

function graft.study(options)
   return require("graft.study").study(options)
end

function graft.report(subject, path)
   return require("graft.report").write(subject, path)
end

local config_keys = { threads = "integer", memory = "number", progress = "boolean" }

-- graft.config{threads=, memory=, progress=}: for programs that embed Graft. `memory` in bytes; 0: no limit.
function graft.config(options)
   options = strict.options(options, "graft.config", config_keys)
   if options.threads and not context.threads_are_fixed then
      core.threads(options.threads)
   end
   if options.memory then
      local bytes = math.tointeger(options.memory // 1)
      if not bytes then
         core.error("option", ("graft.config: memory must be a number of bytes, got %s"):format(options.memory))
      end
      core.memory(bytes)
   end
   if options.progress ~= nil then
      context.progress = options.progress
   end
end

graft.image = strict.table({
   load = core.image_load,
   save = function(image, path, quality)
      if not context.planning then
         core.image_save(image, path, quality)
      end
   end,
   -- resize(image, height, width [, "bicubic"])
   resize = core.image_resize,
   show = function(image)
      require("graft.picture").show(image)
   end,
   grid = function(images, options)
      return require("graft.montage").grid(images, options)
   end,
   overlay = function(image, map, options)
      return require("graft.montage").overlay(image, map, options)
   end,
}, "graft.image")

return strict.table(graft, "graft")
