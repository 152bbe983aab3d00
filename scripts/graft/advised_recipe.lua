-- What an advice comes to: in words, done to a network, and as a recipe to run, change and share.

local core = require "graft.core"
local data = require "graft.data"
local network = require "graft.network"

local advised = { signature = "Written by graft probe" } -- stands in each recipe

local words = {
   head = "freeze the body, train the head, 60 epochs (they are short: the body runs once).",
   top = "train a new head for 3 epochs, then %s and what follows too at a tenth of its rate, 12 epochs.",
   all = "train a new head for 3 epochs, then the whole network at the same rate, 12 epochs.",
   cut = "cut the network at %s, freeze it, train a new head there, 60 epochs (they are short).",
   scratch = "take the architecture without its weights and train all of it, 30 epochs.",
   unknown = "nothing yet: get more photos, or train the head only as a start (that is the recipe).",
}

-- Which of the recipes an advice comes to.
local function form_of(advice)
   if advice.action == "fine_tune" then
      return advice.from == advice.stages[1] and "all" or "top"
   end
   return advice.action
end

function advised.words(advice)
   return words[form_of(advice)]:format(advice.from)
end

local head = [[
-- %s
--
-- @ for %d classes. Why:
%s

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   weights = { type = "file", help = "pretrained weights" },
   epochs = { type = "integer", default = %d, min = 1, help = "passes over the photos" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = %s, help = "learning rate of the new classifier" },
}

-- train/ and val/, or one folder a class: then 20 %% of each class is held out to check with.
local d = graft.data.folder(opt.data)
local batch_size = math.min(opt.batch_size, #d.train)
]]

head = head:gsub("@", advised.signature)

local bodies = {
   head = [[

-- A new classifier on the frozen network, which runs once over the photos; the epochs after that take moments.
local net = graft.load(opt.weights):replace_head(d):freeze("body")
print(graft.fit(net, d, { epochs = opt.epochs, batch_size = batch_size, optimizer = graft.adamw { lr = opt.lr } }))

-- If that is not enough: the top of the network too, at a tenth of the rate. It takes longer, and on few photos it can be worth
-- several points.
--   net:unfreeze { %s, bn = "fixed" }:lr_scale { { "*", 1 / 10 }, { "head", 1 } }
--   print(graft.fit(net, d, { name = "top", epochs = 12, batch_size = batch_size, clip = 1,
--      optimizer = graft.sgd { lr = 0.01, momentum = 0.9 }, schedule = graft.one_cycle { warmup = 0.3 } }))
]],
   cut = [[

-- The network ends at %q, where the features fit best; what came after it is gone. It stays as it is, and runs once.
local net = graft.load(opt.weights):freeze("*"):cut(%q):add_head(d)
print(graft.fit(net, d, { epochs = opt.epochs, batch_size = batch_size, optimizer = graft.adamw { lr = opt.lr } }))
]],
   top = [[
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }

-- The new classifier alone first, so that its first, wild steps do not reach the pretrained layers.
local net = graft.load(opt.weights):replace_head(d):freeze("body")
graft.fit(net, d, { name = "head", epochs = 3, batch_size = batch_size, optimizer = sgd })

-- Then the layers from %q on as well, at a tenth of the rate. The statistics of their batch norms stay those of the
-- pretraining: a few photos at a time would replace them by worse ones.
net:unfreeze { %s, bn = "fixed" }:lr_scale { { "*", 1 / 10 }, { "head", 1 } }
print(graft.fit(net, d, { name = "fine-tuned", epochs = opt.epochs, batch_size = batch_size, optimizer = sgd, clip = 1,
   -- augment = "light", -- random crops and flips: often another point, and nothing can be kept from epoch to epoch
   schedule = graft.one_cycle { warmup = 0.3 } }))
]],
   all = [[
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }

-- The new classifier alone first, so that its first, wild steps do not reach the pretrained layers.
local net = graft.load(opt.weights):replace_head(d):freeze("body")
graft.fit(net, d, { name = "head", epochs = 3, batch_size = batch_size, optimizer = sgd })

-- Then everything alike: these photos are unlike what the network was taught, and there are enough to teach it anew.
net:unfreeze { "*", bn = "train" }
print(graft.fit(net, d, { name = "everything", epochs = opt.epochs, batch_size = batch_size, optimizer = sgd, clip = 1,
   -- augment = "light", -- random crops and flips: often another point
   schedule = graft.one_cycle { warmup = 0.3 } }))
]],
   scratch = [[

-- The same architecture with new weights.
local sgd = graft.sgd { lr = opt.lr, momentum = 0.9, weight_decay = 1e-4 }
local net = graft.load(opt.weights):replace_head(d):reinit("*"):unfreeze("*")
print(graft.fit(net, d, { epochs = opt.epochs, batch_size = batch_size, optimizer = sgd, clip = 1, augment = "light",
   schedule = graft.cosine { warmup = 0.1 } }))
]],
}

local numbers = { head = { 60, "0.001" }, cut = { 60, "0.01" }, top = { 12, "0.01" }, all = { 12, "0.01" },
   scratch = { 30, "0.02" } } -- epochs, learning rate

-- The stages that are trained: all from `from` on, of this network.
local function from_on(stages, from)
   local list = {}
   for _, stage in ipairs(stages) do
      if stage == from or #list > 0 then
         list[#list + 1] = stage
      end
   end
   return #list > 0 and list or { from }
end

local function quoted(names)
   local parts = {}
   for i, name in ipairs(names) do
      parts[i] = ("%q"):format(name)
   end
   return table.concat(parts, ", ")
end

function advised.text(advice)
   local form = form_of(advice)
   form = form == "unknown" and "head" or form
   local why = {}
   for i, sentence in ipairs(advice.sentences) do
      why[i] = table.concat(require("graft.format").wrap(core.printable(sentence), 110), "\n--   ")
   end
   local title = advised.words(advice):gsub("%.$", "")
   local text = head:format(title:sub(1, 1):upper() .. title:sub(2), #advice.classes, "--   " .. table.concat(why, "\n--   "),
      table.unpack(numbers[form]))
   local from = advice.from
   local body = bodies[form]
   if form == "head" then
      body = body:format(quoted(table.move(advice.stages, math.max(1, #advice.stages - 1), #advice.stages, 1, {})))
   elseif form == "cut" then
      body = body:format(from, from)
   elseif form == "top" then
      body = body:format(from, quoted(from_on(advice.stages, from)))
   end
   return text .. body
end

-- Head, freezing and rates as the advice says. Cutting gives a new network, everything else changes `net`.
function advised.apply(advice, net, d)
   local who = "advice:apply"
   network.handle(net, who)
   if not data.is(d) then
      core.error("option", ("%s: expected a network and a data set, got %s"):format(who, type(d)))
   end
   if advice.action == "cut" then
      return net:clone():freeze("*"):cut(advice.from):add_head(d)
   end
   net:replace_head(d):freeze "body"
   local form = form_of(advice)
   if form == "scratch" then
      return net:reinit("*"):unfreeze "*"
   elseif form == "all" then
      return net:unfreeze { "*", bn = "train" }
   elseif form == "top" then
      local names = from_on(net.stages, advice.from)
      names.bn = "fixed"
      net:unfreeze(names):lr_scale { { "*", 1 / 10 }, { "head", 1 } }
   end
   return net
end

return advised
