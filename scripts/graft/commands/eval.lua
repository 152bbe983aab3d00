-- graft eval MODEL DATA

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local network = require "graft.network"
local data = require "graft.data"
local trainer = require "graft.trainer"
local report = require "graft.report"
local progress = require "graft.progress"
local exits = require "graft.exits"

local command = {}

-- A folder, a CSV file or a folder of IDX files, whatever the path is.
function command.open_data(path, choices)
   local stat = core.stat(path)
   if not stat then
      core.error("data", core.missing(path, "file or folder"))
   end
   if stat.kind == "file" then
      return data.csv(path, choices)
   end
   for _, name in ipairs(core.list(path)) do
      if name:match("%-idx3%-ubyte") then
         return data.idx(path, choices)
      end
   end
   return data.folder(path, choices)
end

local function pick(d, wanted)
   if wanted then
      return d[wanted], wanted
   end
   for _, name in ipairs { "test", "val" } do
      if #d[name] > 0 then
         return d[name], name
      end
   end
   return d.train, "train"
end

command.options = {
   set = { type = "choice", choices = { "train", "val", "test", "all" },
      help = "which photos (default: test, else val); all: of a folder without train/ and val/, every photo" },
   batch_size = { type = "integer", min = 1, help = "photos at a time" },
   heads = { type = "boolean", help = "each classifier's accuracy and cost: where the network might end earlier" },
   report = { type = "file", help = "a page of it, with the worst mistakes (FILE.html; another ending: text)" },
}

-- With --report: the page, after what is printed.
local function finish(result, path)
   if path then
      report.write(result, path)
   end
   return 0
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft eval")
   if #rest ~= 2 then
      options.usage("graft eval needs a model and data: graft eval MODEL DATA [--set train|val|test|all]")
   end
   local net = network.load(network.of_run(rest[1]))
   local whole = given.set == "all"
   local d = require("graft.fit").match_classes(net, command.open_data(rest[2], whole and { val = 0 } or nil), "graft eval",
      ("what its features are worth there:\n   graft probe %s %s"):format(rest[1], rest[2]))
   if whole and (#d.val > 0 or #d.test > 0) then
      options.usage(("--set all: %s has sets of its own; name one of them"):format(rest[2]))
   end
   local set, name = pick(d, not whole and given.set or nil)
   name = whole and "all" or name
   if #set == 0 then
      core.error("data", ("%s: the %s set is empty"):format(rest[2], name))
   end
   local bar = progress.bar("evaluating", #set)
   local result = trainer.evaluate(net, set, { batch_size = given.batch_size, photos = given.report ~= nil,
      progress = function(done)
         bar:step(done - bar.done)
      end })
   bar:clear()
   if context.json then
      local heads = {}
      for i, head in ipairs(given.heads and exits.of(net, result, #set) or result.heads or {}) do
         heads[i] = head
      end
      print(core.json({ accuracy = result.accuracy, top5 = result.top5 or core.null, loss = result.loss,
         classes = core.array(result.classes), confusion = core.array(result.confusion), heads = core.array(heads),
         calibration = result.calibration, photos = #set, set = name }, 2))
      return finish(result, given.report)
   end
   local right = math.floor(result.accuracy * #set + 0.5)
   local low, high = format.interval(right, #set)
   print(("%s of %s, %s\n"):format(name, rest[2], format.plural(#set, "photo")))
   if name == "val" and not core.stat(rest[2] .. "/val") and core.stat(rest[2]).kind == "folder" then
      print(("These are the photos that a training on this folder holds out, %d of %d; --set all tests every one.\n"):format(
         #set, #d.train + #set))
   end
   print(("accuracy  %.3f (%d of %d; 95 %% interval %.2f-%.2f)%s   loss %.3f\n"):format(result.accuracy, right, #set, low,
      high, result.top5 and #net.classes > 5 and ("   top-5 %.3f"):format(result.top5) or "", result.loss))
   print(report.classes(result))
   local matrix = report.confusion(result)
   if matrix then
      print("\n" .. matrix)
   end
   if given.heads then
      print("\n" .. exits.text(exits.of(net, result, #set), #set))
   end
   return finish(result, given.report)
end

return command
