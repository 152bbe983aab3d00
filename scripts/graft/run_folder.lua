-- The folder of a run: recipe.lua, recipe.lock, metrics.csv, best and last checkpoints, report.

local core = require "graft.core"
local context = require "graft.context"
local lock = require "graft.lock"
local strict = require "graft.strict"

local folder = {}

-- Half-written files that a killed run left behind.
local function sweep(path)
   for _, name in ipairs(core.list(path)) do
      if name:find("%.%d+%.part$") then
         core.remove(path .. "/" .. name)
      end
   end
end

-- The path of the run folder: --out, or runs/RECIPE-N with the first free N. A folder that holds something is refused
-- unless the run is resumed; without --out that is the latest one.
function folder.choose(wanted, resume)
   local path = context.options_out or wanted
   if path then
      local stat = core.stat(path)
      if stat and stat.kind ~= "folder" then
         core.error("file", ("%s: expected a folder for the run, it is a file"):format(path))
      elseif stat and #core.list(path) > 0 and not (resume or context.resume) then
         core.error("file", ("%s is not empty; choose another --out, or go on with that run with --resume"):format(path))
      end
   else
      local name, n = context.recipe and context.recipe.name or context.mode, 1
      while core.stat(("runs/%s-%d"):format(name, n)) do
         n = n + 1
      end
      path = ("runs/%s-%d"):format(name, (resume or context.resume) and n > 1 and n - 1 or n)
   end
   return path
end

-- In the sandbox the folder was chosen and made before: the recipe has no say in it.
local function given_folder(wanted)
   if wanted and not context.options_out then
      core.error("file", ("out = %q: a recipe in the sandbox does not choose its run folder; say --out DIR on the command "
         .. "line, or run a recipe of your own with --trust"):format(wanted))
   end
   return core.guest.out
end

-- Makes the run folder once, and returns its path.
function folder.open(wanted, resume)
   if context.out then
      return context.out
   end
   require("graft.recipe").check_options()
   local path = core.guest and given_folder(wanted) or folder.choose(wanted, resume)
   if context.resume then
      lock.check_resumed(path)
   end
   if not core.guest then
      core.make_folder(path)
   end
   if resume or context.resume then
      sweep(path)
   end
   context.out = path
   if context.recipe then
      core.write(path .. "/recipe.lua", context.recipe.text)
   end
   return path
end

-- graft.out(name): a path inside the run folder.
function folder.path(name)
   if context.planning then
      return (context.options_out or "runs") .. "/" .. name
   end
   if name:find("^/") or name:find("%.%.") then
      core.error("file", ("graft.out(%q): expected a name inside the run folder"):format(name))
   end
   return folder.open() .. "/" .. name
end

-- Lets go of the networks of loops of graft.trainer. Nobody announces the end of a loop that takes steps as it likes: it is
-- the end of its epochs, else the next training, and of the last one (`final`) the recipe's end.
local function settle_loops(final)
   for i, entry in ipairs(context.modes) do
      local handle = entry.handle
      if handle and not handle:closed() and (not entry.digest or final and i == #context.modes) then
         entry.digest = handle:digest()
      end
      if handle and not handle:closed() then
         require("graft.chapters").end_loop(entry, handle, entry.digest or handle:digest())
      end
      entry.handle = nil
   end
end

-- At the start of a training: the run folder, if what it starts from is what the lock of --locked, and of a run that is
-- resumed, says.
function folder.start(wanted, resume)
   settle_loops()
   lock.check_locked()
   local path = folder.open(wanted, resume)
   if context.resume then -- a recipe that resumes by itself knows best which of its options matter
      lock.check_resumed(path)
   end
   return path
end

-- A fit is over (`done`: not cut short): so says the lock. That a whole run is, the recipe's end says.
function folder.made(path, name, epochs, digest, done)
   local entry = context.modes[#context.modes]
   entry.name, entry.epochs, entry.digest = name, epochs, digest
   lock.write(path, digest, done and context.mode ~= "run")
end

-- The end of a recipe.
function folder.finish()
   settle_loops(true)
   local entry = context.modes[#context.modes]
   if context.out and entry then
      lock.write(context.out, entry.digest, true)
      require("graft.chapters").write_loop(context.out)
   end
end

-- Takes the rows of a fit away that lie behind its last checkpoint: those epochs are made again.
function folder.trim_metrics(path, fit, epoch)
   local file = path .. "/metrics.csv"
   if not core.stat(file) then
      return
   end
   local kept, text = {}, core.read(file)
   for line in text:gmatch("[^\n]*\n") do
      local own, number = line:match('^(%d+),".*",(%d+),')
      if not own then
         own, number = line:match("^(%d+),[^,]*,(%d+),")
      end
      if tonumber(own) ~= fit or tonumber(number) <= epoch then
         kept[#kept + 1] = line
      end
   end
   local rest = table.concat(kept)
   if #rest < #text then
      core.write(file, rest)
   end
end

-- metrics.csv: one row an epoch. A column that comes later (a second fit with auxiliary classifiers) is added at the
-- end; it is empty in the rows before.
local columns = { "fit", "name", "epoch", "train_loss", "val_loss", "val_accuracy", "val_f1", "val_map", "lr", "seconds" }

local function cell(value)
   if value == nil then
      return ""
   elseif math.type(value) == "float" then
      return ("%.7g"):format(value)
   end
   local text = tostring(value):gsub("%c", " ")
   return text:find('[,"]') and '"' .. text:gsub('"', '""') .. '"' or text
end

function folder.append_metrics(path, row)
   local file = path .. "/metrics.csv"
   local values = {}
   for key, value in pairs(row) do
      values[tostring(key):gsub('[%c,"]', "_")] = value
   end
   local text = core.stat(file) and core.read(file) or table.concat(columns, ",") .. "\n"
   local header, known = {}, {}
   for name in text:match("^[^\n]*"):gmatch("[^,]+") do
      header[#header + 1], known[name] = name, true
   end
   local before = #header
   for _, name in ipairs(strict.keys(values)) do
      if not known[name] then
         header[#header + 1] = name
      end
   end
   if #header > before then
      local rows = text:match("^[^\n]*\n(.*)$"):gsub("\n", (","):rep(#header - before) .. "\n")
      text = table.concat(header, ",") .. "\n" .. rows
   end
   local cells = {}
   for i, name in ipairs(header) do
      cells[i] = cell(values[name])
   end
   core.write(file, text .. table.concat(cells, ",") .. "\n")
end

return folder
