-- graft inspect FILE: weights, model, photo, ONNX file, lock, pack, run folder or a folder of photos, explained.

local core = require "graft.core"
local checkpoints = require "graft.checkpoints"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"
local lock = require "graft.lock"

local command = {}

command.options = { layers = { type = "boolean", help = "every layer, or every tensor" } }

local function say(document, text)
   print(context.json and core.json(document, 2) or text)
   return 0
end

local function total(tensors)
   local count = 0
   for _, tensor in ipairs(tensors) do
      local size = 1
      for _, n in ipairs(tensor.shape) do
         size = size * n
      end
      count = count + size
   end
   return count
end

local function tensor_lines(tensors, all)
   local rows = { { "tensor", "shape", "type" } }
   for i, tensor in ipairs(tensors) do
      if all or i <= 8 or i > #tensors - 4 then
         rows[#rows + 1] = { core.printable(tensor.name), format.shape(tensor.shape), tensor.dtype }
      elseif i == 9 then
         rows[#rows + 1] = { ("... %d more (--layers shows all)"):format(#tensors - 12), "", "" }
      end
   end
   return format.columns(rows, "lll", "  ")
end

local function inspect_weights(path, given)
   local weights <close> = core.weights(path)
   local tensors, metadata = weights:tensors(), weights:metadata()
   local document = { kind = "weights", format = weights:format(), tensors = core.array(tensors),
      parameters = total(tensors), sha256 = weights:sha256() }
   local lines = { ("%s: %s, %s (%s numbers, parameters and statistics), sha256 %s"):format(core.printable(path),
      weights:format(), format.plural(#tensors, "tensor"), format.count(document.parameters),
      document.sha256:sub(1, 12) .. "..") }
   local spec = require("graft.models").recognise(tensors)
   if metadata["graft.network"] or spec then
      context.quiet = true
      local net = require("graft.network").load(path)
      document.kind = metadata["graft.network"] and "model" or "weights"
      document.architecture, document.classes = net.name, core.array(net.classes)
      lines[#lines + 1] = document.kind == "model" and "a model: architecture, classes and preprocessing are in it"
         or "plain weights, recognised as " .. net.name
      lines[#lines + 1] = net:summary(given.layers and "*" or nil)
      local shown = table.concat(net.classes, ", ", 1, math.min(8, #net.classes))
      if #net.classes > 0 then
         lines[#lines + 1] = "classes   " .. shown .. (#net.classes > 8 and " ..." or "")
      end
      lines[#lines + 1] = "next      graft predict " .. path .. " PHOTO"
   else
      lines[#lines + 1] = "no architecture that Graft knows"
      lines[#lines + 1] = tensor_lines(tensors, given.layers)
   end
   return say(document, table.concat(lines, "\n"))
end

local function inspect_image(path)
   local width, height, kind = core.image_size(path)
   core.image_load(path)
   local decoder = kind == "JPEG" and core.jpeg or "stb_image"
   return say({ kind = "photo", width = width, height = height, bytes = core.stat(path).size, decoder = decoder },
      ("%s: photo, %d x %d pixels, %s; decodes to its end (by %s)"):format(core.printable(path), width, height,
         format.bytes(core.stat(path).size), decoder))
end

-- "  3 epochs of 8 ..." of each fit that a lock names.
local function fits_rows(rows, was)
   for i, fit in ipairs(was.fits) do
      local digest = type(fit.digest) == "string" and "; then weights " .. lock.short(core.printable(fit.digest)) or ""
      rows[#rows + 1] = { i == 1 and "fits" or "", ("%d%s  %s%s%s%s%s"):format(i,
         type(fit.name) == "string" and (' "%s"'):format(core.printable(fit.name)) or "",
         fit.loop and "a loop of the recipe's own" or math.tointeger(fit.epochs) and format.plural(math.tointeger(fit.epochs),
            "epoch") or "not ended", fit.exact and ", exact kernels" or "",
         type(fit.stash) == "string" and fit.stash ~= "none" and ", stash " .. core.printable(fit.stash) or "",
         type(fit.prefix) == "string" and fit.prefix ~= "float32" and ", prefix " .. core.printable(fit.prefix) or "", digest) }
   end
end

local function data_text(listing)
   local held = listing.split.held_out
   return ("%s  %s train, %s val%s; %s; %s (of each file: %s)"):format(core.printable(listing.name),
      lock.text(listing.train), lock.text(listing.val),
      type(held) == "number" and held > 0 and (" (%g %% of each class held out)"):format(100 * held) or "",
      format.plural(type(listing.classes) == "table" and #listing.classes or 0, "class", "classes"),
      lock.short(core.printable(listing.sha256)), core.printable(listing.photos))
end

local function made_by(was)
   local parts = { "Graft " .. (was.graft or "?") .. (was.build and (" (build %s)"):format(was.build:sub(1, 8)) or "") }
   parts[#parts + 1] = was.threads and format.plural(math.tointeger(was.threads) or 0, "thread") or nil
   for _, key in ipairs { "cpu", "blas", "jpeg" } do
      parts[#parts + 1] = was[key]
   end
   return core.printable(table.concat(parts, ", "))
end

-- What a lock says, as rows of a table.
local function lock_rows(was)
   local rows, options_text = {}, {}
   for _, key in ipairs(require("graft.strict").keys(was.options)) do
      options_text[#options_text + 1] = ("--%s %s"):format(key:gsub("_", "-"), lock.text(was.options[key]))
   end
   rows[1] = { "recipe", ("%s  %s"):format(core.printable(was.name or "-"), was.recipe and lock.short(core.printable(was.recipe))
      or "none: a program of its own") }
   rows[2] = { "options", #options_text > 0 and core.printable(table.concat(options_text, "  ")) or "none" }
   for _, file in ipairs(was.weights) do
      rows[#rows + 1] = { "weights", ("%s  %s"):format(core.printable(file.file), lock.short(core.printable(file.sha256))) }
   end
   for _, listing in ipairs(was.data) do
      rows[#rows + 1] = { "data", data_text(listing) }
   end
   fits_rows(rows, was)
   rows[#rows + 1] = { "seed", core.printable(lock.text(was.seed or "?")) }
   rows[#rows + 1] = { "made by", made_by(was) }
   rows[#rows + 1] = { "result", was.digest and "weights " .. lock.short(core.printable(was.digest)) or "none yet" }
   return rows
end

local function inspect_lock(path)
   local was = lock.read(path)
   local rows, folder = lock_rows(was), path:match("^(.*)/[^/]*$") or "."
   rows[#rows + 1] = { "next", was.finished and ("graft verify %s replays it and compares"):format(folder)
      or ("the same command with --out %s --resume goes on, while the recipe is the same"):format(folder) }
   was.sums = nil
   return say({ kind = "lock", lock = was }, ("%s: the lock of a run that has %sended\n%s"):format(path,
      was.finished and "" or "not ", format.columns(rows, "ll", "  ")))
end

-- Where an interrupted run stands, as its last checkpoint has it.
local function standing(path)
   local ok, record = pcall(checkpoints.record, path .. "/last.safetensors")
   if not ok or not record then
      return "there is no checkpoint yet"
   end
   local saved, state = record["graft.fit"], {}
   if type(saved) == "string" then
      ok, state = pcall(core.parse_json, saved)
   end
   local epoch = ok and type(state) == "table" and state.epoch or record["graft.epoch"]
   return ("the last checkpoint is of fit %s, after epoch %s"):format(core.printable(lock.text(record["graft.ordinal"] or "?")),
      core.printable(lock.text(epoch or "?")))
end

local function inspect_run(path)
   local ok, was = pcall(lock.read, path .. "/recipe.lock")
   local report = core.stat(path .. "/report.txt") and core.read(path .. "/report.txt") or nil
   local files, lines = core.list(path), {}
   local finished = ok and was.finished or false
   lines[1] = ("%s: a run folder%s"):format(path, not ok and "" or finished and ("; %s has ended after %s"):format(
      core.printable(was.name or "the run"), format.plural(#was.fits, "fit")) or "; the run has not ended: " .. standing(path))
   if report and finished then
      lines[#lines + 1] = report
   end
   local rows = ok and lock_rows(was) or { { "lock", core.printable(was.message) } }
   rows[#rows + 1] = { "files", core.printable(table.concat(files, ", ")) }
   rows[#rows + 1] = { "next", finished and ("graft verify %s replays it and compares"):format(path)
      or ("the same command with --out %s --resume goes on, while the recipe is the same"):format(path) }
   lines[#lines + 1] = format.columns(rows, "ll")
   if ok then
      was.sums = nil
   end
   return say({ kind = "run", files = core.array(files), report = report or core.null, finished = finished,
      lock = ok and was or core.null }, table.concat(lines, "\n"))
end

-- Nothing in a text from a stranger reaches the terminal as a command, or turns the order of its letters around.
local function visible(text)
   text = core.printable((text:gsub("\t", "   ")))
   return (text:gsub(utf8.charpattern, function(character)
      local code = #character > 1 and utf8.codepoint(character) or 0
      if code >= 0x200B and code <= 0x200F or code >= 0x202A and code <= 0x202E or code >= 0x2060 and code <= 0x206F
         or code == 0x061C or code == 0xFEFF then
         return ("\\u{%04x}"):format(code)
      end
   end))
end

local function numbered(text)
   local lines, number = {}, 0
   for line in (text:gsub("\n$", "") .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      lines[number] = ("%5d  %s"):format(number, visible(line)):gsub("%s+$", "")
   end
   return table.concat(lines, "\n")
end

-- What running a pack would read, write and need, before anything in it is executed.
local function inspect_pack(path)
   local pack = require "graft.pack"
   local read = pack.read(path, true)
   local locked = read.lock
   local parts, rows = { { "  part", "size", "sha256" } }, {}
   for _, part in ipairs(read.parts) do
      parts[#parts + 1] = { "  " .. part.name, format.bytes(part.size), part.sha256:sub(1, 16) .. ".." }
   end
   local function add(label, text)
      rows[#rows + 1] = { label, text }
   end
   add("options", pack.options_text(locked))
   add("seed", locked.seed and ("%d; made by Graft %s on %s with %s"):format(locked.seed, core.printable(locked.graft or "?"),
      core.printable(locked.cpu or "?"), core.printable(locked.blas or "?")) or "not stated")
   for _, entry in ipairs(locked.weights) do
      add("weights", ("%s, sha256 %s; %s"):format(core.printable(entry.file), entry.sha256, pack.licence_text(entry)))
   end
   for _, listing in ipairs(locked.data) do
      add("data", pack.data_text(listing))
   end
   add("reads", "the data and the weights that the command line names"
      .. (read.weights and "; without --weights the trained weights in the pack" or ""))
   add("writes", ("its run folder: --out, or runs/%s-N"):format(path:match("([^/]+)%.graft$") or "pack"))
   add("next", ("graft plan %s --data PHOTOS%s"):format(path, #locked.weights > 0 and not read.weights and " --weights FILE"
      or ""))
   local report = {}
   for line in (read.report or ""):gmatch("[^\n]+") do
      report[#report + 1] = "  " .. visible(line)
   end
   local sections = { ("%s: a pack, %s; every digest holds, and nothing in it was executed"):format(core.printable(path),
      format.bytes(read.size)), format.columns(parts, "lrl"), format.columns(rows, "ll") }
   if #report > 0 then
      sections[#sections + 1] = "report.txt, as the packer has it\n" .. table.concat(report, "\n")
   end
   sections[#sections + 1] = "recipe.lua\n" .. numbered(read.recipe)
   return say({ kind = "pack", parts = read.parts, lock = locked, recipe = read.recipe, report = read.report or core.null,
      metrics = read.metrics or core.null }, table.concat(sections, "\n\n"))
end

local function texts(list)
   local shown = {}
   for i = 1, math.min(#list, 4) do
      shown[i] = core.printable(list[i])
   end
   return #list == 0 and "none" or table.concat(shown, ", ") .. (#list > 4 and (" and %d more"):format(#list - 4) or "")
end

-- Graft writes such files and reads none, so this says whose it is and what goes in and out.
local function inspect_onnx(path)
   local told = require("graft.onnx").read(path)
   local kinds, rows = {}, {}
   for kind, count in pairs(told.kinds) do
      kinds[#kinds + 1] = { kind, count }
   end
   table.sort(kinds, function(a, b)
      return a[2] > b[2] or a[2] == b[2] and a[1] < b[1]
   end)
   for i, kind in ipairs(kinds) do
      kinds[i] = ("%d %s"):format(kind[2], kind[1])
   end
   local own = told.metadata["graft.network"]
   rows[1] = { "written by", core.printable(((told.producer or "?") .. " " .. (told.version or "")):gsub(" $", ""))
      .. (own and "; the network is " .. core.printable(own) or "") }
   rows[2] = { "operators", texts(kinds) }
   rows[3] = { "constants", format.count(told.constants) }
   rows[4] = { "input", texts(told.inputs) }
   rows[5] = { "output", texts(told.outputs) }
   local ok, classes = pcall(core.parse_json, told.metadata["graft.classes"] or "")
   if ok and type(classes) == "table" and type(classes[1]) == "string" then
      rows[6] = { "classes", texts(classes) }
   end
   rows[#rows + 1] = { "next", "Graft does not read ONNX: use the .safetensors or .pth that it was made from" }
   return say({ kind = "onnx", format = told.format, producer = told.producer or core.null, version = told.version or core.null,
      operator_set = told.operator_set or core.null, name = told.name or core.null, operators = told.operators,
      constants = told.constants, inputs = core.array(told.inputs), outputs = core.array(told.outputs),
      metadata = told.metadata }, ("%s: an ONNX file of format %d, operator set %s, %s\n%s"):format(core.printable(path),
      told.format, told.operator_set or "?", format.bytes(core.stat(path).size), format.columns(rows, "ll", "  ")))
end

-- Skipped files by reason, as "7  reason (first.heic ...)".
local function skipped_lines(skipped)
   local by_reason, order = {}, {}
   for _, file in ipairs(skipped) do
      if not by_reason[file.reason] then
         by_reason[file.reason] = {}
         order[#order + 1] = file.reason
      end
      table.insert(by_reason[file.reason], file.file)
   end
   local words = {}
   for _, reason in ipairs(order) do
      local files = by_reason[reason]
      words[#words + 1] = ("%d  %s (%s%s)"):format(#files, reason, core.printable(files[1]), #files > 1 and " ..." or "")
   end
   return words
end

-- Looking at a folder shows all that is wrong with it, also what training refuses: then `objection` says why.
local function open_data(path)
   local open = require("graft.commands.eval").open_data
   local ok, result = pcall(open, path)
   if ok then
      return result
   elseif not core.is_error(result) or result.kind ~= "data" then
      error(result, 0)
   end
   return open(path, { max_skip = 1 }), result.message
end

local function inspect_data(path)
   context.quiet = true
   local d, objection = open_data(path)
   local counts = {}
   for _, name in ipairs { "train", "val" } do
      local set = d[name]
      for i = 1, #set do
         local class = set[i].class
         if class then
            counts[class] = counts[class] or { train = 0, val = 0 }
            counts[class][name] = counts[class][name] + 1
         end
      end
   end
   local rows, classes, all = { { "class", "photos", "train", "val" } }, {}, 0
   for i, class in ipairs(d.classes) do
      local c = counts[class] or { train = 0, val = 0 }
      all = all + d.counts[class]
      classes[i] = { name = class, photos = d.counts[class], train = c.train, val = c.val }
      rows[#rows + 1] = { core.printable(class), format.count(d.counts[class]), format.count(c.train), format.count(c.val) }
   end
   local held, assumed = require("graft.data").handle(d, "graft inspect"):split()
   local lines = { ("%s  %s, %s%s"):format(path, format.plural(#d.train + #d.val + #d.test, "photo"),
      format.plural(#d.classes, "class", "classes"), assumed
         and ("; no train/ and val/ folders, so %g %% of each class are held out (in a recipe: val = %g)"):format(
            100 * held, held) or ""), format.columns(rows, "lrrr", "  ") }
   local notes = {}
   for i, text in ipairs(skipped_lines(d.skipped)) do
      notes[#notes + 1] = { i == 1 and ("skipped %d"):format(#d.skipped) or "", text }
   end
   local duplicates = require("graft.data").handle(d, "graft inspect"):duplicates()
   for i, pair in ipairs(duplicates) do
      if i <= 5 then
         notes[#notes + 1] = { i == 1 and ("look at %d"):format(#duplicates) or "", ("the same photo is in %s and %s"):format(
            core.printable(pair.first), core.printable(pair.second)) }
      end
   end
   notes[#notes + 1] = objection and { "refused", objection } or { "next",
      ("graft run head_only --data %s --weights WEIGHTS        no weights yet?  graft help weights"):format(path) }
   lines[#lines + 1] = format.columns(notes, "ll")
   return say({ kind = "data", classes = core.array(classes), photos = all, skipped = core.array(d.skipped),
      duplicates = core.array(duplicates), refused = objection },
      table.concat(lines, "\n"))
end

-- By name, or by what the file starts with.
local function looks_like_weights(path)
   local file <close>, reason = io.open(path, "rb")
   if not file then
      core.error("file", (reason:gsub("^.*: ", path .. ": cannot be opened: ")))
   end
   local head = file:read(9) or ""
   return path:match("%.safetensors$") or path:match("%.pth?$") or head:match("^PK") or head:match("^\128\2")
      or head:sub(9) == "{"
end

local function looks_like_photo(path)
   local ok, failure = pcall(core.image_size, path)
   return ok or not failure.message:find("is no photo", 1, true)
end

local function inspect_array(path)
   local array = core.tensor.tensor.load(path)
   local count = 1
   for _, n in ipairs(array.shape) do
      count = count * n
   end
   return say({ kind = "array", shape = core.array(array.shape), type = array.dtype, bytes = core.stat(path).size },
      ("%s: an array of NumPy, %s, %s numbers, %s\nread it with graft.tensor.load(%q)\n%s"):format(core.printable(path),
         format.shape(array.shape), format.count(count), format.bytes(core.stat(path).size), core.printable(path),
         tostring(array)))
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft inspect")
   if #rest ~= 1 then
      options.usage("graft inspect needs one file or folder: graft inspect FILE")
   end
   local path = rest[1]
   local stat = core.stat(path)
   if not stat then
      core.error("file", core.missing(path, "file or folder"))
   elseif stat.kind == "folder" then
      if core.stat(path .. "/recipe.lock") then
         return inspect_run(path)
      end
      return inspect_data(path)
   elseif stat.kind ~= "file" then
      core.error("file", path .. ": is a device or a pipe, not a file")
   elseif path:match("%.lock$") then
      return inspect_lock(path)
   elseif path:match("%.csv$") then
      core.error("option", path .. ": a CSV file needs its columns named; open it in a recipe with graft.data.csv")
   elseif path:match("%.lua$") then
      return say({ kind = "recipe" }, ("%s: a recipe; its options: graft run %s --help; what it would do: graft plan %s")
         :format(path, path, path))
   elseif core.pack_is(path) or path:match("%.graft$") then
      return inspect_pack(path)
   elseif path:match("%.onnx$") or require("graft.onnx").is(path) then
      return inspect_onnx(path)
   elseif path:lower():match("%.npy$") then
      return inspect_array(path)
   elseif looks_like_weights(path) then
      return inspect_weights(path, given)
   elseif looks_like_photo(path) then
      return inspect_image(path)
   end
   core.error("file", path .. ": is nothing that Graft reads: weights (.safetensors, .pth), photos (JPEG, PNG), arrays (.npy), a "
      .. "recipe, a lock, a pack, a run folder or a folder of photos")
end

return command
