-- graft pack RUNDIR OUT.graft [--weights]: a run in one file, to be shared.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local options = require "graft.options"
local pack = require "graft.pack"

local command = {}

command.options = { weights = { type = "boolean", help = "pack the trained weights too" } }

command.notes = "The file holds the recipe, the lock, metrics.csv, a short report and, with --weights, the trained model; it is\n"
   .. "a plain zip archive. Paths are cut to their last names. Whoever gets it looks first, then runs it on other data:\n\n"
   .. "  graft inspect OUT.graft\n  graft run OUT.graft --data PHOTOS --weights FILE"

local function weights_rows(rows, written, packed)
   local entries, stated = written.lock.weights, true
   if packed then
      rows[#rows + 1] = { "weights", ("the trained model, %s"):format(format.bytes(written.weights.size)) }
   end
   for _, entry in ipairs(entries) do
      rows[#rows + 1] = { packed and "from" or "weights", ("%s%s, sha256 %.12s..; %s"):format(
         packed and "" or "not in it: who runs it needs ", core.printable(entry.file), entry.sha256,
         pack.licence_text(entry)) }
      stated = stated and entry.licence ~= nil
   end
   if packed and not stated then
      rows[#rows + 1] = { "", "the terms of that file may hold for the trained weights too: look before you share them" }
   end
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft pack")
   if #rest ~= 2 then
      options.usage("graft pack needs a run folder and a file: graft pack RUNDIR OUT.graft [--weights]")
   end
   local folder, out = rest[1]:gsub("(.)/+$", "%1"), rest[2]
   local stat = core.stat(folder)
   if not out:find("%.graft$") then
      options.usage(("graft pack: the file is called %s.graft, got %q"):format(out:gsub("%.%w+$", ""), out))
   elseif not stat or stat.kind ~= "folder" then
      core.error("file", core.missing(folder, "run folder"))
   elseif core.stat(out) and not core.pack_is(out) then
      core.error("file", out .. ": is there already and is no pack; choose another name")
   end
   local written = pack.write(folder, out, given.weights)
   if context.json then
      print(core.json({ out = out, bytes = written.size, parts = written.parts, weights = core.array(written.lock.weights) },
         2))
      return 0
   end
   local names = {}
   for i, part in ipairs(written.parts) do
      names[i] = part.name
   end
   local rows = { { "packed", ("%s, %s: %s"):format(out, format.bytes(written.size), table.concat(names, ", ")) } }
   weights_rows(rows, written, given.weights)
   if #written.shortened > 0 then
      rows[#rows + 1] = { "left out", "the folders of this machine: " .. table.concat(written.shortened, ", ") }
   end
   rows[#rows + 1] = { "next", ("graft inspect %s    graft run %s --data PHOTOS%s"):format(out, out,
      not given.weights and #written.lock.weights > 0 and " --weights FILE" or "") }
   print(format.columns(rows, "ll"))
   return 0
end

return command
