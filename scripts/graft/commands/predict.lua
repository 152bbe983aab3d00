-- graft predict MODEL IMAGE...

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local network = require "graft.network"
local cli = require "graft.cli"

local command = {}

command.options = {
   top = { type = "integer", min = 1, default = 4, help = "classes to name" },
   arch = { type = "string", help = "the architecture, where it is not recognised" },
}

local DEEPEST = 8 -- folders in folders: a link may lead back

-- Adds the photos of a folder and of those in it, such as class folders; hidden ones are left out.
local function add_photos(files, folder, depth)
   for _, name in ipairs(core.list(folder)) do
      local path = folder:gsub("/+$", "") .. "/" .. name
      local stat = name:sub(1, 1) ~= "." and core.stat(path)
      if stat and stat.kind == "file" and (name:lower():match("%.jpe?g$") or name:lower():match("%.png$")) then
         files[#files + 1] = path
      elseif stat and stat.kind == "folder" and depth < DEEPEST then
         add_photos(files, path, depth + 1)
      end
   end
end

-- Folders among the arguments stand for the photos in them.
function command.images(args, first)
   local files = {}
   for i = first, #args do
      local stat = core.stat(args[i])
      if stat and stat.kind == "folder" then
         local before = #files
         add_photos(files, args[i], 1)
         if #files == before then
            core.error("data", args[i] .. ": there is no photo (.jpg, .png) in it")
         end
      else
         files[#files + 1] = args[i]
      end
   end
   return files
end

local function row(file, top)
   local cells = { core.printable(file), top[1].class, ("%.2f"):format(top[1].p) }
   local others = {}
   for i = 2, #top do
      others[#others + 1] = ("%s %.2f"):format(top[i].class, top[i].p)
   end
   cells[4] = table.concat(others, "   ")
   if top[1].p < 0.5 then
      cells[4] = cells[4] .. "    not sure"
   end
   return cells
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft predict")
   if #rest < 2 then
      options.usage("graft predict needs a model and at least one photo: graft predict MODEL IMAGE...")
   end
   local net = network.load(network.of_run(rest[1]), { arch = given.arch })
   local files = command.images(rest, 2)
   local rows, documents, failed = {}, {}, false
   for _, file in ipairs(files) do
      local ok, top = pcall(net.predict, net, file, { top = given.top or command.options.top.default })
      if ok then
         rows[#rows + 1] = row(file, top)
         documents[#documents + 1] = { image = file, top = core.array(top) }
      elseif core.is_error(top) and top.kind ~= "interrupt" then
         failed = true
         cli.complain(cli.plain(top))
      else
         error(top, 0)
      end
   end
   if context.json then
      print(core.json(core.array(documents), 2))
   elseif #rows > 0 then
      print(format.columns(rows, "lll"))
   end
   return failed and 1 or 0
end

return command
