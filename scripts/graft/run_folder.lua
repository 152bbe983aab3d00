-- The folder of a run: recipe.lua, recipe.lock, metrics.csv, best and last checkpoints, report.

local core = require "graft.core"
local context = require "graft.context"

local folder = {}

-- Makes the run folder once: --out, or runs/RECIPE-N with the first free N. A folder that holds something is refused
-- unless the run is resumed.
function folder.open(wanted)
   if context.out then
      return context.out
   end
   local path = context.options_out or wanted
   if path then
      local stat = core.stat(path)
      if stat and stat.kind ~= "folder" then
         core.error("file", ("%s: expected a folder for the run, it is a file"):format(path))
      elseif stat and #core.list(path) > 0 and not context.resume then
         core.error("file", ("%s is not empty; choose another --out, or go on with that run with --resume"):format(path))
      end
   else
      local name, n = context.recipe and context.recipe.name or context.mode, 1
      repeat
         path = ("runs/%s-%d"):format(name, n)
         n = n + 1
      until not core.stat(path)
   end
   core.make_folder(path)
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

-- recipe.lock: what a run depends on, as digests and versions.
function folder.write_lock(path, digest)
   local listings = {}
   for _, handle in ipairs(context.data or {}) do
      listings[#listings + 1] = { name = handle:name(), sha256 = handle:digest(),
         train = handle:set("train"):count(), val = handle:set("val"):count(), classes = handle:classes() }
   end
   core.write(path .. "/recipe.lock", core.json({
      format = 1,
      graft = core.version,
      recipe = context.recipe and core.digest(context.recipe.text) or core.null,
      options = context.options.values and next(context.options.values) and context.options.values or core.null,
      weights = core.array(context.weights),
      data = core.array(listings),
      seed = core.seed(),
      threads = core.threads(),
      cpu = core.cpu,
      blas = core.blas(),
      digest = digest,
   }, 2) .. "\n")
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

-- metrics.csv: one row an epoch; columns are fixed by the first row of a fit.
local columns = { "fit", "name", "epoch", "train_loss", "val_loss", "val_accuracy", "val_f1", "val_map", "lr", "seconds" }

function folder.append_metrics(path, row)
   local file = path .. "/metrics.csv"
   local present, extra = {}, {}
   for _, name in ipairs(columns) do
      present[name] = true
   end
   for key in pairs(row) do
      if not present[key] then
         extra[#extra + 1] = key
      end
   end
   table.sort(extra)
   local old = core.stat(file) and core.read(file) or ""
   local header = {}
   if old == "" then
      table.move(columns, 1, #columns, 1, header)
      table.move(extra, 1, #extra, #header + 1, header)
      old = table.concat(header, ",") .. "\n"
   else
      for name in old:match("^[^\n]*"):gmatch("[^,]+") do
         header[#header + 1] = name
      end
   end
   local cells = {}
   for i, name in ipairs(header) do
      local value = row[name]
      if type(value) == "string" then
         value = value:gsub("%c", " ")
      end
      cells[i] = value == nil and "" or math.type(value) == "float" and ("%.7g"):format(value)
         or (tostring(value):find("[,\"\n]") and '"' .. tostring(value):gsub('"', '""') .. '"' or tostring(value))
   end
   core.write(file, old .. table.concat(cells, ",") .. "\n")
end

return folder
