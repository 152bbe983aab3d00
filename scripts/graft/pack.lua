-- Packs: a run in one file, to be shared. What goes in, what must not, and reading one with suspicion.
--
-- The container and its rules are runtime/io/pack.h. Here: the lock and the report without paths of the packer's machine, and a
-- lock from a stranger taken apart key by key.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local strict = require "graft.strict"

local pack = {}

-- --- paths of one machine ---

-- Folders at the root of the file system that say nothing about anybody.
local common_folders = {}
for name in ("usr bin sbin lib lib32 lib64 libx32 etc dev proc sys boot"):gmatch("%S+") do
   common_folders[name] = true
end
local personal_folders = {}
for name in ("home Users root tmp var mnt media opt srv data work run scratch Volumes private"):gmatch("%S+") do
   personal_folders[name] = true
end

local function is_personal(first)
   if personal_folders[first] == nil and not common_folders[first] then
      personal_folders[first] = core.stat("/" .. first) ~= nil -- a mount of this machine
   end
   return personal_folders[first] == true
end

-- Is the word of a text from `first` on a path of this machine?
local function is_path(text, word, first)
   local folder = word:match("^/+([%w_.+-]+)")
   if folder then
      return text:sub(first - 1, first + 1) ~= "://" and is_personal(folder)
   end
   return word:find("^~[%w_.-]+/") ~= nil or word:find("^\\") ~= nil and text:sub(first - 2, first - 1):find("^%a:$") ~= nil
end

-- The first path of this machine in a text from a position on: from, to, the path. Blanks, quotes and brackets end one.
local function find_path(text, from)
   for first, word, after in text:gmatch("()([^%s\"'`%[%]%(%){}<>,;:|=]+)()", from) do
      if is_path(text, word, first) then
         return first, after - 1, word
      end
   end
end
pack.find_path = find_path

-- The last name of a path; of somebody's home it would be theirs.
local function base_name(path)
   local name = path:match("([^/\\]+)[/\\]*$") or path
   local home = os.getenv("HOME") or ""
   return #home > 1 and name == home:match("[^/]+/*$") and "home" or name
end

-- The text with every path of this machine cut down to its last name. `known`: paths that may hold blanks.
local function scrub(text, known)
   for _, path in ipairs(known) do
      local from, to = text:find(path, 1, true)
      while from do
         text = text:sub(1, from - 1) .. base_name(path) .. text:sub(to + 1)
         from, to = text:find(path, from + 1, true)
      end
   end
   local from, to, path = find_path(text, 1)
   while from do
      text = text:sub(1, from - 1) .. base_name(path) .. text:sub(to + 1)
      from, to, path = find_path(text, from)
   end
   return text
end

-- The paths that this run was given, the longest first: of the options that the lock says are paths, or that look like it.
local function known_paths(lock)
   local named, paths = {}, {}
   for _, name in ipairs(type(lock.paths) == "table" and lock.paths or {}) do
      named[name] = true
   end
   for name, value in pairs(lock.options) do
      if type(value) == "string" and value:find("/", 1, true)
         and (named[name] or not lock.paths and (find_path(value, 1) == 1 or core.stat(value))) then
         paths[#paths + 1] = value
      end
   end
   table.sort(paths, function(a, b)
      return #a > #b or #a == #b and a < b
   end)
   return paths
end

-- A copy of a value of the lock without paths of this machine.
local function scrubbed(value, known)
   if type(value) == "string" then
      return scrub(value, known)
   elseif type(value) ~= "table" or value == core.null then
      return value
   end
   local copy = {}
   for key, inner in pairs(value) do
      copy[type(key) == "string" and scrub(key, known) or key] = scrubbed(inner, known)
   end
   return #value > 0 and core.array(copy) or copy
end

-- --- a lock that somebody else wrote ---

local function bad_lock(path, ...)
   core.error("file", ("%s: its recipe.lock is refused: %s"):format(path, (...):format(select(2, ...))))
end

local types = { graft = "string", name = "string", finished = "boolean", threads = "number", cpu = "string", blas = "string",
   jpeg = "string", digest = "string", recipe = "string" }

local function is_digest(value)
   return type(value) == "string" and #value == 64 and not value:find("[^%da-f]")
end

local function list_of(path, lock, key, check)
   local list = lock[key]
   if list == nil or list == core.null then
      lock[key] = {}
   elseif type(list) ~= "table" then
      bad_lock(path, "%s must be a list", key)
   else
      for i, entry in ipairs(list) do
         if type(entry) ~= "table" or not check(entry) then
            bad_lock(path, "entry %d of %s is not as Graft writes it", i, key)
         end
      end
   end
end

-- Parses the text of a lock and checks all that is read from it later.
local function parse_lock(path, text, recipe)
   local ok, lock = pcall(core.parse_json, text)
   if not ok or type(lock) ~= "table" then
      bad_lock(path, "it is no JSON object")
   elseif math.type(lock.format) == nil or lock.format < 1 then
      bad_lock(path, "it has no format")
   end
   for key, kind in pairs(types) do
      local value = lock[key]
      if value ~= nil and value ~= core.null and type(value) ~= kind then
         bad_lock(path, "%s must be a %s", key, kind)
      elseif value == core.null then
         lock[key] = nil
      end
   end
   if lock.recipe ~= core.digest(recipe) then
      bad_lock(path, "it belongs to another recipe (sha256 %.16s.., this one has %.16s..)", tostring(lock.recipe),
         core.digest(recipe))
   end
   if lock.seed == core.null then
      lock.seed = nil
   elseif lock.seed ~= nil then -- beyond 2^53 it is written as a text
      local kind = type(lock.seed)
      lock.seed = (kind == "number" or kind == "string") and math.tointeger(tonumber(lock.seed))
         or bad_lock(path, "seed must be a whole number")
   end
   if lock.options == nil or lock.options == core.null then
      lock.options = {}
   elseif type(lock.options) ~= "table" then
      bad_lock(path, "options must be an object")
   end
   for name, value in pairs(lock.options) do
      local plain = type(value) == "string" or type(value) == "boolean"
         or type(value) == "number" and value == value and math.abs(value) ~= math.huge
      if type(name) ~= "string" or not name:find("^%a[%w_]*$") or not plain then
         bad_lock(path, "the option %s is none", core.printable(tostring(name)))
      end
   end
   list_of(path, lock, "weights", function(entry)
      return type(entry.file) == "string" and is_digest(entry.sha256)
         and (entry.licence == nil or type(entry.licence) == "string")
         and (entry.source == nil or type(entry.source) == "string")
   end)
   list_of(path, lock, "data", function(entry)
      local sound = type(entry.name) == "string" and math.tointeger(entry.train) and math.tointeger(entry.val)
         and type(entry.classes) == "table"
      for _, class in ipairs(sound and entry.classes or {}) do
         sound = sound and type(class) == "string"
      end
      return sound
   end)
   return lock
end

-- Reads a pack: {path=, recipe=text, lock=table, metrics=, report=, parts=, size=, weights=part or nil}.
function pack.read(path, whole)
   local read = core.pack_read(path, whole)
   if read.recipe:sub(1, 1) == "\27" then
      core.error("file", path .. ": its recipe.lua is compiled Lua, not text")
   end
   read.path = path
   read.lock = parse_lock(path, read.lock, read.recipe)
   for _, part in ipairs(read.parts) do
      read.weights = part.name == "weights.safetensors" and part or read.weights
   end
   return read
end

-- --- replaying ---

-- What a run needs of a pack, as data that JSON keeps: {path=, options=, seed=text, weights=list, packed=boolean}.
function pack.terms(read)
   return { path = read.path, options = read.lock.options, seed = read.lock.seed and ("%d"):format(read.lock.seed),
      weights = core.array(read.lock.weights), packed = read.weights ~= nil }
end

-- The pack's seed and options hold for the recipe that runs now, unless the command line says otherwise.
function pack.adopt(terms)
   context.pack = terms
   terms.seed = math.tointeger(tonumber(terms.seed))
   if terms.seed and not context.seed_is_fixed then
      core.seed(terms.seed)
      context.seed_is_fixed = true
   end
end

local inputs = { folder = true, file = true } -- types of options that name something of this machine

-- Gives the options that the command line left open the pack's values; says what it did. `declared` and `given` as in
-- graft.options; `convert(text, declaration, name)` checks a value.
function pack.fill_options(declared, given, convert)
   local terms = context.pack
   local kept, changed = {}, {}
   for _, name in ipairs(strict.keys(terms.options)) do
      local d, value = declared[name], terms.options[name]
      if d and not inputs[d.type] then
         local text = math.type(value) == "float" and ("%.17g"):format(value) or tostring(value)
         local ok, locked = pcall(convert, text, d, name)
         if not ok then
            core.error("file", ("%s: its recipe.lock has an option that its recipe does not take: %s"):format(terms.path,
               core.is_error(locked) and locked.message or tostring(locked)))
         end
         local shown = core.printable(tostring(locked))
         if given[name] == nil then
            given[name] = locked
            kept[#kept + 1] = ("%s %s"):format(name, shown)
         elseif given[name] ~= locked then
            changed[#changed + 1] = ("%s %s (the pack: %s)"):format(name, core.printable(tostring(given[name])), shown)
         end
      end
   end
   if terms.seed and terms.seed == core.seed() then
      kept[#kept + 1] = ("seed %d"):format(terms.seed)
   elseif terms.seed then
      changed[#changed + 1] = ("seed %d (the pack: %d)"):format(core.seed(), terms.seed)
   end
   context.note(("%s: options of the pack: %s"):format(terms.path, #kept > 0 and table.concat(kept, ", ") or "none"))
   if #changed > 0 then
      context.note(("%s: the command line says otherwise: %s"):format(terms.path, table.concat(changed, ", ")))
   end
   local wants = declared.weights
   if wants and wants.type == "file" and given.weights == nil and terms.packed then
      given.weights = terms.path
      context.note(("%s: no --weights, so it starts from the trained weights in the pack"):format(terms.path))
   end
end

-- Says when weights are not those that the pack was trained from.
function pack.note_weights(sha256, path)
   local terms = context.pack
   if path == terms.path or #terms.weights == 0 then
      return
   end
   for _, entry in ipairs(terms.weights) do
      if entry.sha256 == sha256 then
         return
      end
   end
   context.note(("%s is not what the pack was trained from: sha256 %.12s.., the pack's %s has %.12s.."):format(path, sha256,
      core.printable(terms.weights[1].file), terms.weights[1].sha256))
end

-- --- packing ---

-- The licence of the weights that a lock names, and where they are from, for people. A file may name a licence in words of its
-- source alone.
function pack.licence_text(entry)
   local source = entry.source and core.printable(entry.source)
   if not entry.licence and source then
      return ("licence: see its source: %s"):format(source)
   end
   return ("licence: %s%s"):format(entry.licence and core.printable(entry.licence) or "not stated in that file",
      source and "; from " .. source or "")
end

-- "batch_size 32, epochs 12": the options of a lock.
function pack.options_text(lock)
   local words = {}
   for _, name in ipairs(strict.keys(lock.options)) do
      words[#words + 1] = ("%s %s"):format(name, core.printable(tostring(lock.options[name])))
   end
   return #words > 0 and table.concat(words, ", ") or "none"
end

function pack.data_text(listing)
   local classes, shown = {}, 8
   for i = 1, math.min(shown, #listing.classes) do
      classes[i] = core.printable(tostring(listing.classes[i]))
   end
   return ("%s: %s train, %s val; %s: %s%s"):format(core.printable(listing.name),
      format.count(math.tointeger(listing.train)), format.count(math.tointeger(listing.val)),
      format.plural(#listing.classes, "class", "classes"), table.concat(classes, ", "),
      #listing.classes > shown and " ..." or "")
end

-- The short report of a pack: what was run, on what, and what the run's own report says, without the lines about files.
local function make_report(lock, report, name)
   local rows = { { "recipe", core.printable(name) }, { "graft", ("%s, seed %s, %s, %s"):format(lock.graft or "?",
      lock.seed or "?", lock.cpu or "?", lock.blas or "?") }, { "options", pack.options_text(lock) } }
   for _, entry in ipairs(lock.weights) do
      rows[#rows + 1] = { "weights", ("%s  sha256 %s"):format(core.printable(entry.file), entry.sha256) }
   end
   for _, listing in ipairs(lock.data) do
      rows[#rows + 1] = { "data", pack.data_text(listing) }
   end
   for line in (report or ""):gmatch("[^\n]+") do
      local label, rest = line:match("^(%l+) +(.+)$")
      if label == "skipped" then
         rows[#rows + 1] = { label, rest:match("^[^;]*") }
      elseif label and label ~= "kept" and label ~= "next" and label ~= "page" then
         rows[#rows + 1] = { label, rest }
      end
   end
   return format.columns(rows, "ll") .. "\n"
end

-- Refuses a recipe that names paths of this machine: whoever gets it could not run it, and would learn them.
local function check_recipe(text, path)
   local number = 0
   for line in (text .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      local _, _, found = find_path(line, 1)
      if found then
         core.error("data", ("%s:%d names %s, a path of this machine; make it an option (graft.options{...}), run it again and "
            .. "pack that run"):format(path, number, found))
      end
   end
end

-- The trained weights as a file: best.safetensors, or what is last without its optimiser. Returns the path, and one to remove.
local function weights_file(folder, out)
   local best, last = folder .. "/best.safetensors", folder .. "/last.safetensors"
   if core.stat(best) then
      return best
   elseif not core.stat(last) then
      core.error("file", folder .. ": has no trained weights (best.safetensors, last.safetensors)")
   end
   local quiet = context.quiet
   context.quiet = true
   local net <close> = require("graft.network").load(last)
   context.quiet = quiet
   local model = out .. ".model"
   net:save(model)
   return model, model
end

-- Refuses a model that names paths of this machine.
local function check_metadata(path)
   local weights <close> = core.weights(path)
   for key, value in pairs(weights:metadata()) do
      local _, _, found = find_path(value, 1)
      if found then
         core.error("data", ("%s: its metadata %q names %s, a path of this machine"):format(path, key, found))
      end
   end
end

local function read_part(folder, name, needed)
   local path = folder .. "/" .. name
   if core.stat(path) then
      return core.read(path)
   elseif needed then
      core.error("file", ("%s: has no %s, so it is no run folder that can be packed%s"):format(folder, name,
         name == "recipe.lock" and " (graft.fit writes it)" or ""))
   end
end

-- Packs a run folder. Returns the pack as pack.read does, with shortened=: the options that lost the folders of this machine.
function pack.write(folder, out, with_weights)
   local recipe, lock_text = read_part(folder, "recipe.lua", true), read_part(folder, "recipe.lock", true)
   local lock = parse_lock(folder, lock_text, recipe)
   if lock.finished == false then
      core.error("file", folder .. ": this run is not finished; --resume goes on with it, while its recipe is the same")
   end
   check_recipe(recipe, folder .. "/recipe.lua")
   local known = known_paths(lock)
   known[#known + 1] = folder:find("/", 1, true) and folder or nil
   local report, metrics = read_part(folder, "report.txt"), read_part(folder, "metrics.csv")
   local shared = scrubbed(lock, known)
   shared.weights, shared.data = core.array(shared.weights), core.array(shared.data)
   for _, listing in ipairs(shared.data) do
      listing.name = base_name(listing.name)
   end
   local weights, scratch
   if with_weights then
      weights, scratch = weights_file(folder, out)
      check_metadata(weights)
   end
   local name = lock.name or base_name(folder)
   local ok, failure = pcall(core.pack_write, out, { recipe = recipe, lock = core.json(shared, 2) .. "\n",
      metrics = metrics and scrub(metrics, known), report = scrub(make_report(shared, report, name), known),
      weights = weights })
   if scratch then
      core.remove(scratch)
   end
   if not ok then
      error(failure, 0)
   end
   local written = pack.read(out, true) -- what was written can be read
   written.shortened = {}
   for _, option in ipairs(strict.keys(lock.options)) do
      if lock.options[option] ~= shared.options[option] then
         table.insert(written.shortened, ("%s is %s"):format(option, core.printable(shared.options[option])))
      end
   end
   return written
end

return pack
