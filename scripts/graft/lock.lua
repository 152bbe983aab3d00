-- recipe.lock: what a run depends on, as digests and versions, and what came of it. Written by every run, compared by
-- --resume, --locked and graft verify. Beside it, data.sha256 lists the photos' digests one by one, as sha256sum does, so
-- that a photo that changed can be named.

local core = require "graft.core"
local context = require "graft.context"
local strict = require "graft.strict"
local format = require "graft.format"

local lock = {}

local FORMAT = 2
local NAME = "recipe.lock"
local MAX_LOCK = 16 << 20 -- bytes
local MAX_SUMS = 1 << 30
local MOST_NAMED = 8 -- photos of one kind in a message

-- --- numbers that JSON keeps exactly ---

-- A number that JSON's fifteen digits would round becomes a text.
local function exact(value)
   if math.type(value) == "integer" then
      return (value < -(1 << 53) or value > 1 << 53) and ("%d"):format(value) or value
   elseif math.type(value) == "float" and tonumber(("%.15g"):format(value)) ~= value then
      return ("%.17g"):format(value)
   end
   return value
end

-- How an option's value is written on a command line; the same for a value and for what the lock says of it.
function lock.text(value)
   if math.type(value) == "float" then
      local whole, short = math.tointeger(value), ("%.15g"):format(value)
      return whole and ("%d"):format(whole) or tonumber(short) == value and short or ("%.17g"):format(value)
   end
   return tostring(value)
end

-- --- the present state ---

-- What photos there are in a data set and how they are split.
local function listing(handle, number)
   local train, val, test = handle:set("train"), handle:set("val"), handle:set("test")
   local held = handle:split()
   return { name = handle:name(), sha256 = handle:digest(), classes = handle:classes(),
      train = train:count(), val = val:count(), test = test:count(),
      split = { held_out = tonumber(("%.6g"):format(held)), train = train:digest(), val = val:digest(), test = test:digest() },
      photos = number == 1 and "data.sha256" or ("data-%d.sha256"):format(number) }
end

local listings = setmetatable({}, { __mode = "k" }) -- data set -> its entry

local function data_now()
   local all = {}
   for i, handle in ipairs(context.data or {}) do
      listings[handle] = listings[handle] or listing(handle, i)
      all[i] = listings[handle]
      for j = 1, i - 1 do -- the same photos split in another way are listed once
         if all[j].sha256 == all[i].sha256 and context.data[j]:path() == handle:path() then
            all[i].photos = all[j].photos
            break
         end
      end
   end
   return core.array(all)
end

local function options_now()
   local values = {}
   for key, value in pairs(context.options.values or {}) do
      values[key] = exact(value)
   end
   return next(values) and values or core.null
end

local function fits_now()
   local all = {}
   for i, mode in ipairs(context.modes) do
      all[i] = {}
      for key, value in pairs(mode) do
         all[i][key] = value
      end
      all[i].handle = nil
   end
   return core.array(all)
end

-- The lock as it would be written now. `digest` of the network that came out, or nil while nothing has.
function lock.now(digest)
   local last = context.modes[#context.modes]
   local precision = last and last.prefix or "float32"
   return {
      format = FORMAT,
      finished = false,
      recipe = context.recipe and core.digest(context.recipe.text) or core.null,
      name = context.recipe and context.recipe.name or core.null,
      options = options_now(),
      paths = core.array(context.options.paths or {}),
      seed = exact(core.seed()),
      weights = core.array(context.weights),
      data = data_now(),
      fits = fits_now(),
      threads = core.threads(),
      graft = core.version,
      build = core.program_build() or core.null,
      cpu = core.cpu,
      prefix = { precision = precision, native = core.native(precision) }, -- of the last fit
      blas = core.blas(),
      jpeg = core.jpeg,
      digest = digest or core.null,
   }
end

-- The digests of a data set's photos; of IDX files and tables those of the files themselves as well.
local function sums_of(handle)
   local text, path = handle:sums(), handle:path()
   local stat = core.stat(path)
   if stat and stat.kind == "file" then
      text = ("%s  %s\n%s"):format(core.digest_file(path), path:match("[^/]+$"), text)
   elseif stat and stat.kind == "folder" and text == "" then
      local lines = {}
      for _, name in ipairs(core.list(path)) do
         lines[#lines + 1] = name:find("ubyte") and ("%s  %s\n"):format(core.digest_file(path .. "/" .. name), name) or nil
      end
      text = table.concat(lines)
   end
   return text
end

-- Writes the lock, and the digests of data sets that are new to this folder.
function lock.write(folder, digest, finished)
   local now, listed = lock.now(digest), {}
   for i, handle in ipairs(context.data or {}) do
      local name = now.data[i].photos
      if context.listed[handle] ~= folder and not listed[name] then
         core.write(folder .. "/" .. name, sums_of(handle))
      end
      context.listed[handle], listed[name] = folder, true
   end
   now.finished = finished or false
   core.write(folder .. "/" .. NAME, core.json(now, 2) .. "\n")
end

-- --- reading ---

-- Kinds of the fields; what follows "list" is checked for each entry. A lock may come from anybody.
local fields = { format = "number", finished = "boolean", recipe = "string", name = "string", options = "table",
   paths = "list", seed = "number string", weights = "list", data = "list", fits = "list", threads = "number",
   graft = "string", build = "string", cpu = "string", prefix = "table", blas = "string", jpeg = "string", digest = "string" }
local entry_fields = { weights = { file = "string", sha256 = "string" },
   data = { name = "string", sha256 = "string", split = "table", photos = "string", train = "number", val = "number" } }

local function spoilt(path, what)
   core.error("file", ("%s: this lock cannot be used: %s"):format(path, what))
end

local function check_entries(path, key, list)
   for i, entry in ipairs(list) do
      for name, kind in pairs(entry_fields[key] or {}) do
         if type(entry) ~= "table" or type(rawget(entry, name)) ~= kind then
            spoilt(path, ("entry %d of %q has no %s %q"):format(i, key, kind, name))
         end
      end
   end
end

-- The files that reading a lock needs: itself and the digests of photos beside it.
function lock.files(path)
   local files, folder = { path }, path:match("^(.*)/[^/]*$") or "."
   local stat = core.stat(folder)
   for _, name in ipairs(stat and stat.kind == "folder" and core.list(folder) or {}) do
      if name:find("^data[%w%-]*%.sha256$") then
         files[#files + 1] = folder .. "/" .. name
      end
   end
   return files
end

-- The lock in a file, checked; fields that are null or absent are nil. `sums` holds the texts of data.sha256 and so on.
function lock.read(path)
   local ok, read = pcall(core.parse_json, core.read(path, MAX_LOCK))
   if not ok or type(read) ~= "table" then
      spoilt(path, "it is no JSON document")
   elseif read.format ~= FORMAT then
      spoilt(path, ("its format is %s, this version of Graft reads format %d"):format(tostring(read.format), FORMAT))
   end
   for key, kinds in pairs(fields) do
      local value = read[key]
      if value == core.null then
         read[key] = nil
      elseif value ~= nil and not (kinds == "list" and type(value) == "table") and not kinds:find(type(value), 1, true) then
         spoilt(path, ("%q is a %s"):format(key, type(value)))
      end
   end
   for _, key in ipairs { "paths", "weights", "data", "fits" } do
      read[key] = read[key] or {}
      check_entries(path, key, read[key])
   end
   read.options, read.sums = read.options or {}, {}
   for i, entry in ipairs(read.data) do
      local file = entry.photos:find("^data[%w%-]*%.sha256$") and path:gsub("[^/]*$", "") .. entry.photos
      read.sums[i] = file and core.stat(file) and core.read(file, MAX_SUMS) or nil
   end
   return read
end

-- --- comparing ---

-- A digest as people compare it; any other text as it is.
function lock.short(text)
   return text:find("^" .. ("%x"):rep(64) .. "$") and "sha256 " .. text:sub(1, 8) .. ".." or text
end

local function digest_text(digest)
   return type(digest) == "string" and core.printable(digest) or "-"
end

-- name -> digest of the lines of a data.sha256
local function parse_sums(text)
   local sums = {}
   for line in text:gmatch("[^\n]+") do
      local escaped, digest, name = line:match("^(\\?)(%x+)  (.*)$")
      if name then
         name = escaped == "" and name or name:gsub("\\(.)", function(c)
            return c == "n" and "\n" or c
         end)
         sums[name] = digest
      end
   end
   return sums
end

local function add(rows, what, was, now)
   rows[#rows + 1] = { what = what, locked = was, now = now }
end

-- Photos that are other ones, that are gone and that are new.
local function compare_photos(rows, was, now)
   local names, many = {}, { changed = 0, gone = 0, new = 0 }
   for name in pairs(was) do
      names[#names + 1] = name
   end
   for name in pairs(now) do
      names[#names + 1] = was[name] == nil and name or nil
   end
   table.sort(names)
   for _, name in ipairs(names) do
      local kind = was[name] == nil and "new" or now[name] == nil and "gone" or was[name] ~= now[name] and "changed" or nil
      if kind then
         many[kind] = many[kind] + 1
         if many[kind] <= MOST_NAMED then
            add(rows, "photo " .. core.printable(name), was[name] or "-", now[name] or "-")
         end
      end
   end
   for _, kind in ipairs { "changed", "gone", "new" } do
      if many[kind] > MOST_NAMED then
         add(rows, ("%s more photos %s"):format(format.count(many[kind] - MOST_NAMED), kind == "changed" and "that changed"
            or kind == "gone" and "that are gone" or "that are new"), "", "")
      end
   end
end

local function split_text(entry)
   return ("%s train, %s val (%s)"):format(lock.text(entry.train), lock.text(entry.val),
      lock.short(core.digest(core.json(entry.split))))
end

-- The digests of their photos are texts; where one is a data set, it is asked for them.
local function compare_data(rows, was, now, sums_was, sums_now)
   local before = #rows
   if was.sha256 ~= now.sha256 then
      if sums_was and sums_now then
         compare_photos(rows, parse_sums(sums_was), parse_sums(type(sums_now) == "string" and sums_now or sums_of(sums_now)))
      end
      if #rows == before then
         add(rows, "data " .. core.printable(now.name), digest_text(was.sha256), digest_text(now.sha256))
      end
   end
   for _, key in ipairs { "train", "val", "test" } do
      if #rows == before and was.split[key] ~= now.split[key] then
         add(rows, "split of " .. core.printable(now.name), split_text(was), split_text(now))
      end
   end
end

local function compare_options(rows, was, now, is_path)
   local keys = strict.keys(was)
   for _, key in ipairs(strict.keys(now)) do
      keys[#keys + 1] = was[key] == nil and key or nil
   end
   table.sort(keys)
   for _, key in ipairs(keys) do
      local a, b = was[key], now[key]
      if not is_path[key] and (a == nil or b == nil or lock.text(a) ~= lock.text(b)) then
         add(rows, "--" .. core.printable((key:gsub("_", "-"))), a ~= nil and core.printable(lock.text(a)) or "-",
            b ~= nil and core.printable(lock.text(b)) or "-")
      end
   end
end

local function paths_of(...)
   local paths = {}
   for _, one in ipairs { ... } do
      for _, name in ipairs(one.paths) do
         paths[name] = true
      end
   end
   return paths
end

-- What the training starts from, in which the lock `was` and the present state differ: a list of {what=, locked=, now=}.
-- Where files lie does not matter, what is in them does. While a recipe runs, `partial`: what it has not opened yet is
-- left out.
function lock.inputs(was, now, partial)
   local rows = {}
   if was.recipe ~= now.recipe and not (was.recipe == nil and now.recipe == core.null) then
      add(rows, "recipe", digest_text(was.recipe), digest_text(now.recipe))
   end
   if not partial or context.options.values then
      compare_options(rows, was.options, now.options ~= core.null and now.options or {}, paths_of(was, now))
   end
   if lock.text(was.seed) ~= lock.text(now.seed) then
      add(rows, "--seed", lock.text(was.seed), lock.text(now.seed))
   end
   for i = 1, math.max(#now.weights, partial and 0 or #was.weights) do
      local a, b = was.weights[i] or {}, now.weights[i] or {}
      if a.sha256 ~= b.sha256 then
         add(rows, "weights " .. core.printable(b.file or a.file), digest_text(a.sha256), digest_text(b.sha256))
      end
   end
   for i = 1, math.max(#now.data, partial and 0 or #was.data) do
      local a, b = was.data[i], now.data[i]
      if a and b then
         compare_data(rows, a, b, was.sums and was.sums[i], now.sums and now.sums[i]
            or not now.sums and context.data[i])
      else
         add(rows, "data " .. core.printable((a or b).name), digest_text(a and a.sha256), digest_text(b and b.sha256))
      end
   end
   return rows
end

local machine = { { "threads", "threads" }, { "graft", "version" }, { "build", "build" }, { "cpu", "processor" },
   { "blas", "BLAS" }, { "jpeg", "JPEG decoder" } }

-- In what the program and the machine differ: then the bits may.
function lock.machine(was, now)
   local rows = {}
   for _, one in ipairs(machine) do
      local a, b = was[one[1]], now[one[1]]
      a, b = a ~= core.null and a or nil, b ~= core.null and b or nil
      if a ~= b then
         local text = one[1] == "build" and function(v)
            return v and v:sub(1, 8) .. ".." or "-"
         end or function(v)
            return v ~= nil and core.printable(lock.text(v)) or "-"
         end
         add(rows, one[2], text(a), text(b))
      end
   end
   local of = was.prefix and was.prefix.precision
   if (of == "bf16" or of == "int8") and was.prefix.native ~= core.native(of) then
      add(rows, of .. " instructions", was.prefix.native and "yes" or "no", core.native(of) and "yes" or "no")
   end
   return rows
end

-- A table of differences for people.
function lock.table(rows, was, now)
   local lines = { { "what differs", was, now } }
   for i, row in ipairs(rows) do
      lines[i + 1] = { row.what, lock.short(row.locked), lock.short(row.now) }
   end
   return format.columns(lines, "lll", "  ")
end

-- Raises with exit status 3: the message, and what differs.
function lock.refuse(message, rows, was, now)
   local _, failure = pcall(core.error, "option", message .. "\n" .. lock.table(rows, was or "locked", now or "now"))
   failure.exit, failure.differs = 3, rows
   context.finish(failure)
end

-- For graft verify: what differs, in the run folder that there would have been.
lock.DIFFERS = "differs.json"

function lock.leave(rows)
   if not core.stat(context.options_out) then
      core.make_folder(context.options_out)
   end
   core.write(context.options_out .. "/" .. lock.DIFFERS, core.json({ differs = core.array(rows) }, 2) .. "\n")
end

-- --- at the start of a training ---

-- With --locked FILE: raises when this is not what the lock was written for.
function lock.check_locked()
   local was = context.locked
   if not was then
      return
   end
   local now = lock.now()
   local rows = lock.inputs(was, now, true)
   if #rows > 0 then
      lock.refuse("this is not what the lock was written for", rows)
   end
   for _, row in ipairs(lock.machine(was, now)) do
      if not context.told_machine then
         context.told_machine = true
         context.note(("%s: %s in the lock, %s here; the bits may differ"):format(row.what, row.locked, row.now))
      end
   end
end

-- Before a run goes on with --resume in a folder that has a lock.
function lock.check_resumed(folder)
   local path = folder .. "/" .. NAME
   if context.resumed == nil then
      context.resumed = core.stat(path) and lock.read(path) or false
   end
   local was, now = context.resumed, lock.now()
   if not was then
      return
   end
   local rows = lock.inputs(was, now, true)
   if #rows > 0 then
      lock.refuse(folder .. " was made with other options, data or seed, or by another recipe; it cannot be resumed",
         rows, "there", "now")
   end
   rows = lock.machine(was, now)
   if #rows > 0 and not context.told_machine then
      context.told_machine = true
      context.note(("%s goes on with %s %s after %s; an uninterrupted run might end with other bits"):format(folder,
         rows[1].what, rows[1].now, rows[1].locked))
   end
end

return lock
