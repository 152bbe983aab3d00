-- The sandbox from outside: what a recipe may read and write, its limits, and how its process ended.
--
-- What the recipe's author wrote grants nothing: paths come from the command line alone, since the options that a recipe
-- declares are known only while it runs. The process itself: bindings/sandbox.h; what a recipe sees in it: graft.guest.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local lock = require "graft.lock"
local options = require "graft.options"
local run_folder = require "graft.run_folder"

local sandbox = {}

-- --- limits ---

local SIZES = { B = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30, T = 1 << 40 }
local TIMES = { s = 1, m = 60, h = 3600, d = 24 * 3600 }
local DAY = TIMES.d
local LEAST_MEMORY = 64 << 20
local LEAST_DISK = 1 << 20

-- "8GiB", "8G", "500 MB" (all of 1024), "1000000"
local function size(text, flag, least)
   local number, unit = text:match "^%s*(%d+%.?%d*)%s*([kKMGTB]?)i?B?%s*$"
   local bytes = number and math.tointeger(tonumber(number) * SIZES[unit == "" and "B" or unit:upper()] // 1)
   if not bytes then
      options.usage(("%s: expected a size such as 8GiB or 500MiB, got %q"):format(flag, text))
   elseif bytes < least then
      options.usage(("%s: expected at least %s, got %s"):format(flag, format.bytes(least), text))
   end
   return bytes
end

-- "90", "90s", "10m", "24h", "7d"
local function duration(text, flag)
   local number, unit = text:match "^%s*(%d+%.?%d*)%s*([smhd]?)%s*$"
   local seconds = number and tonumber(number) * TIMES[unit == "" and "s" or unit]
   if not seconds or seconds <= 0 then
      options.usage(("%s: expected a time such as 90s, 10m, 24h or 7d, got %q"):format(flag, text))
   end
   return seconds
end

local function existing_above(path)
   while not core.stat(path) do
      path = path:match "^(.+)/[^/]*$" or (path:sub(1, 1) == "/" and "/" or ".")
   end
   return path
end

-- The limits that a command line asks for, or generous ones: three quarters of the memory, a day, half of the free disk.
function sandbox.limits(given, out)
   local free, memory = core.room(existing_above(out or "."))
   return {
      memory = given.max_memory and size(given.max_memory, "--max-memory", LEAST_MEMORY)
         or math.max(LEAST_MEMORY, memory // 4 * 3),
      time = given.max_time and duration(given.max_time, "--max-time") or DAY,
      disk = given.max_disk and size(given.max_disk, "--max-disk", LEAST_DISK) or math.max(LEAST_DISK, free // 2),
   }
end

-- --- what may be read ---

-- Adds a path that the user named, and that need not be there: then the recipe may find that out. A table of photos (CSV)
-- stands for its folder, for its paths are relative to it.
local function add(paths, path)
   if path ~= "" then
      paths[#paths + 1] = path
      if path:lower():find "%.[ct]sv$" then
         paths[#paths + 1] = path:match "^(.*)/[^/]*$" or "."
         if paths[#paths] == "" then
            paths[#paths] = "/"
         end
      end
   end
end

-- Every word of a command line that may name something, as "--data photos" or "--data=photos".
local function named_paths(args)
   local paths = {}
   for _, word in ipairs(args) do
      add(paths, word:match "^%-%-[%w][%w%-_]*=(.*)$" or (word:find "^%-%-" and "" or word))
   end
   return paths
end

-- Recipes that come with Graft are Graft's own: the files that their options default to may be read.
local function add_defaults(paths, recipe)
   for path in recipe.text:gmatch 'default = "([^"]+)"' do
      add(paths, path)
   end
end

-- --- how it ended ---

local SIGSYS, SIGKILL, SIGPIPE = 31, 9, 13
local crashes = { [4] = true, [6] = true, [7] = true, [8] = true, [11] = true }

local function complain(text, ...)
   if core.terminal "stderr" then
      io.stderr:write("\r\27[K") -- a bar may stand there
   end
   io.stderr:write("graft: ", text:format(...), "\n")
   return 1
end

local function broken_limit(ended, limits, out)
   local kept = out and core.stat(out) and #core.list(out) > 0 and (("; %s is as it was then"):format(out)) or ""
   if ended.limit == "memory" then
      return complain("the recipe was ended at its limit of memory, %s (Lua, tensors and the program itself); "
         .. "--max-memory raises it%s", format.bytes(limits.memory), kept)
   elseif ended.limit == "disk" then
      return complain("the recipe was ended at its limit of disk space, %s in its run folder; --max-disk raises it%s",
         format.bytes(limits.disk), kept)
   end
   return complain("the recipe was ended at its limit of time, %s; --max-time raises it%s", format.seconds(limits.time),
      kept ~= "" and kept .. ", and --resume goes on" or "")
end

-- The exit status that the end of a guest means; says on stderr what the guest could not.
local function outcome(ended, limits, out)
   local killed = ended.killed_by
   if ended.limit and ended.status ~= 0 then
      return broken_limit(ended, limits, out)
   elseif not killed then
      if ended.status == 127 then
         return complain "the sandbox cannot start this program again (is /proc there?); --trust runs a recipe without it"
      end
      return ended.status == 98 and 1 or ended.status
   elseif ended.signal and (killed == SIGKILL or killed == ended.signal) then
      return 128 + ended.signal
   elseif killed == SIGSYS then
      return complain("the recipe was ended: it made the program ask the system for something that has no place in a "
         .. "sandbox (a process, the network, or the like). Nothing of the kind happened")
   elseif killed == SIGKILL then
      return complain "the system killed the recipe's process, most likely for want of memory"
   elseif crashes[killed] then
      return complain("the recipe made its process crash (signal %d). It could reach nothing outside the sandbox; please "
         .. "report the recipe", killed)
   end
   core.end_by(killed == SIGPIPE and SIGPIPE or killed)
   return 128 + killed
end

-- --- starting ---

-- Does this process have to start a guest for a recipe, rather than run it?
function sandbox.wanted(given)
   return core.guard ~= nil and core.guest == nil and not given.trust
end

-- What the guest could not see: of files and folders on the command line that are not there, the nearest names.
local function tell_nearest(recipe, args)
   for i, word in ipairs(args) do
      local name, value = word:match "^%-%-([%w_%-]+)=?(.*)$"
      value = value ~= "" and value or args[i + 1]
      local kind = name and recipe.text:match("%f[%w_]" .. name:gsub("%-", "_") .. '%s*=%s*{[^}]-type%s*=%s*"(f[io]l[%l]+)"')
      if kind and value and not core.stat(value) then
         local _, near = core.missing(value, kind)
         if near then
            io.stderr:write(("       nearest: %s\n"):format(core.printable(near)))
         end
      end
   end
end

-- Makes the run folder; returns a function that takes it away again when nothing came into it.
local function make_folder(out)
   local stood, above = core.stat(out), out:match "^(.+)/[^/]+$"
   local above_stood = above and core.stat(above)
   core.make_folder(out)
   return function()
      if not stood and core.stat(out) and #core.list(out) == 0 then
         pcall(core.remove, out)
         if above and not above_stood then
            pcall(core.remove, above)
         end
      end
   end
end

-- Runs a recipe as a guest and returns the exit status of the command. `job`:
--   words    the command line that the guest reads: {"run", NAME, "--data", ...}
--   recipe   {name=, path=, chunk=, text=, pack=} as recipe.find gives it
--   read     list of paths; out: run folder, made here when it is not there (nil: the recipe writes nothing)
--   silent   what it writes to stdout is thrown away
--   given    the common options: max_memory, max_time, max_disk, threads
function sandbox.run(job)
   local limits = sandbox.limits(job.given, job.out)
   local tidy = job.out and make_folder(job.out)
   local read = { table.unpack(job.read) }
   local library = os.getenv "GRAFT_LUA_PATH"
   if library and library ~= "" then
      add(read, library)
   end
   local policy = core.json { name = job.recipe.name, path = job.recipe.path, chunk = job.recipe.chunk,
      read = core.array(read), out = job.out or core.null, memory = limits.memory, disk = limits.disk,
      pack = job.recipe.pack, threads = job.given.threads or 0, -- GRAFT_LANDLOCK=0: for tests of the layer that is left without
      landlock = os.getenv "GRAFT_LANDLOCK" ~= "0" }
   local ended = core.guard(job.words, policy, job.recipe.text, { time = limits.time, memory = limits.memory,
      disk = limits.disk, out = job.out, silent = job.silent or false })
   local status = outcome(ended, limits, job.out)
   if tidy then
      tidy()
   end
   return status
end

-- graft run and graft plan: `words` is the whole command line, `args` what follows the recipe's name.
function sandbox.command(what, name, args, given)
   local recipe = require("graft.recipe").find(name)
   context.recipe = recipe
   local read = named_paths(args)
   for _, path in ipairs(context.named or {}) do -- of --read
      add(read, path)
   end
   if recipe.shipped then
      add_defaults(read, recipe)
   elseif recipe.pack and recipe.pack.packed then -- its weights
      add(read, recipe.path)
   end
   for _, path in ipairs(given.locked and lock.files(given.locked) or {}) do
      add(read, path)
   end
   local out
   if what == "run" and not given.help then
      out = run_folder.choose(nil, given.resume)
   end
   local status = sandbox.run { words = context.words, recipe = recipe, read = read, out = out, given = given }
   if status == 1 then
      tell_nearest(recipe, args)
   end
   return status
end

return sandbox
