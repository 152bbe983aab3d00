-- graft verify RUNDIR: replays a run in a folder of its own, from the recipe, options, seed and threads that its lock names,
-- and compares. The replay is `graft run`, in a process of its own.

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local lock = require "graft.lock"
local replay = require "graft.replay"
local progress = require "graft.progress"

local command = {}

command.options = {
   data = { type = "folder", help = "where the photos lie now (default: as in the lock)" },
   weights = { type = "file", help = "where the weights lie now (default: as in the lock)" },
   replay_anyway = { type = "boolean", help = "train also where recipe, data or weights are others" },
   out = { type = "folder", help = "keep the replay in this folder" },
}
command.notes = [[
Other options of the recipe that name a file or folder can be given as well; threads are those of the lock, unless --threads
says otherwise. Without --replay-anyway nothing is trained when the recipe, the weights or a photo are not
those of the lock: what differs is named at once. A recipe that needs --trust to run needs it here.

On the same kind of processor, with the same threads and the same build of Graft, metrics and weights must be the same bit
for bit. Elsewhere ]] .. replay.tolerance_text() .. [[ count as the same, and it says so.

Exit status: 0 the same, 3 something differs, 1 it could not be replayed.]]

local function fail(text, ...)
   core.error("file", text:format(...))
end

-- The lock of a run that has ended.
local function lock_of(folder)
   local stat = core.stat(folder)
   if not stat then
      core.error("file", core.missing(folder, "run folder"))
   end
   for _, name in ipairs { "recipe.lock", "recipe.lua" } do
      if stat.kind ~= "folder" or not core.stat(folder .. "/" .. name) then
         fail("%s: expected the folder of a run, there is no %s in it", folder, name)
      end
   end
   local was = lock.read(folder .. "/recipe.lock")
   if not was.finished then
      fail("%s: this run has not ended, so there is nothing to compare with; the same command with --out %s --resume goes on",
         folder, folder)
   end
   return was
end

-- Reads the command line: RUNDIR first, or after options that verify knows.
local function read(args)
   local _, rest = options.read(args, command.options, "graft verify", false)
   local folder = rest[1]
   if not folder or folder:match("^%-") then
      options.usage("graft verify needs the folder of a run: graft verify RUNDIR [OPTIONS]")
   end
   folder = #folder > 1 and folder:gsub("/+$", "") or folder
   local was = lock_of(folder)
   local types = { replay_anyway = command.options.replay_anyway }
   for _, name in ipairs(was.paths) do
      if type(name) == "string" and name:match("^%a[%w_]*$") and not options.common[name] then
         types[name] = { type = command.options[name] and command.options[name].type or "string" }
      end
   end
   for _, name in ipairs { "data", "weights" } do
      if not types[name] and options.read(args, command.options, "graft verify", false)[name] then
         options.usage(("this run's recipe has no option --%s; it names its files itself%s"):format(name, #was.paths > 0
            and ", but for --" .. table.concat(was.paths, " --") or ""))
      end
   end
   local given, words = options.read(args, types, "graft verify " .. folder)
   if #words > 1 then
      options.usage(("graft verify takes one run folder, got %q as well"):format(words[2]))
   end
   return folder, was, given
end

local function add_option(words, name, value)
   local text = lock.text(value)
   if not name:match("^%a[%w_]*$") or text:find("\0", 1, true) or options.common[name] then
      fail("the lock has an option %q that no recipe can have", core.printable(name))
   end
   words[#words + 1] = ("--%s=%s"):format((name:gsub("_", "-")), text)
end

-- Options of graft run that say what a recipe may do: they are passed on.
local of_guests = { "trust", "max_memory", "max_time", "max_disk" }

-- The words of `graft run` that make the replay.
local function words_of(folder, was, given, out, common)
   local threads = context.threads_are_fixed and core.threads() or math.tointeger(was.threads or 0) or 0
   local words = { "--out=" .. out, "--for-verify", "--seed=" .. lock.text(was.seed or 1) }
   words[#words + 1] = threads > 0 and "--threads=" .. threads or nil
   words[#words + 1] = context.quiet and "--quiet" or nil
   words[#words + 1] = not given.replay_anyway and ("--locked=%s/recipe.lock"):format(folder) or nil
   for name, value in pairs(was.options) do
      if given[name] == nil then
         add_option(words, name, value)
      end
   end
   for name, value in pairs(given) do
      if name ~= "replay_anyway" then
         add_option(words, name, value)
      end
   end
   for _, name in ipairs(of_guests) do
      if common[name] then
         words[#words + 1] = common[name] == true and "--" .. name or ("--%s=%s"):format((name:gsub("_", "-")), common[name])
      end
   end
   for _, path in ipairs(context.named or {}) do
      words[#words + 1] = "--read=" .. path
   end
   table.sort(words)
   return { "run", folder .. "/recipe.lua", table.unpack(words) }
end

-- A folder that is there for the replay and gone afterwards.
local function temporary()
   local base, n = (os.getenv "TMPDIR" or "/tmp") .. "/graft-verify-", math.floor(core.clock() * 1e6)
   while core.stat(base .. n) do
      n = n + 1
   end
   core.make_folder(base .. n)
   return base .. n
end

-- Removes a folder and what is in it; links are removed, not followed.
local function remove(path)
   if pcall(core.remove, path) then
      return
   end
   for _, name in ipairs(core.list(path)) do
      remove(path .. "/" .. name)
   end
   pcall(core.remove, path)
end

local function say(document, text)
   print(context.json and core.json(document, 2) or text)
end

-- The replay was refused before anything was trained. What it left says why.
local function refused(folder, out)
   local path = out .. "/" .. lock.DIFFERS
   local document = core.stat(path) and core.parse_json(core.read(path)) or {}
   local differs = type(document.differs) == "table" and document.differs or {}
   say({ same = false, replayed = false, differs = core.array(differs) },
      ("%s was not replayed: it would not start from what its lock names (--replay-anyway trains all the same)\n%s"):format(
         folder, lock.table(differs, "then", "now")))
   return 3
end

local function compare(folder, was, out, seconds)
   local result = replay.compare(was, folder, out)
   say({ same = result.same, replayed = true, exact = result.exact, bits = result.bits,
      tolerance = result.exact and core.null or replay.tolerance, seconds = seconds, differs = core.array(result.differs),
      machine = core.array(result.machine) }, replay.text(folder, result, seconds))
   return result.same and 0 or 3
end

function command.main(args, common)
   if context.seed_is_fixed or context.resume or context.locked then
      options.usage("graft verify takes seed and lock from the run: no --seed, --locked or --resume")
   end
   local folder, was, given = read(args)
   local kept = context.options_out
   local base = not kept and temporary()
   local tidy <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      if base then
         remove(base)
      end
   end })
   local out = kept or base .. "/run"
   local started = core.clock()
   local _, status = core.child(words_of(folder, was, given, out, common))
   progress.clear()
   if status == 3 then
      return refused(folder, out)
   elseif status ~= 0 then
      fail("%s could not be replayed: graft run ended with %d, and said why above", folder, status)
   end
   return compare(folder, was, out, core.clock() - started)
end

return command
