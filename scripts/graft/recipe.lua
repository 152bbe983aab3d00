-- Loading a recipe and running it: strict globals, text chunks only.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local strict = require "graft.strict"

local recipe = {}

local MAX_SIZE = 16 * 1024 * 1024

-- Names of the recipes in the binary.
function recipe.shipped()
   local names = {}
   for _, name in ipairs(core.embedded_names()) do
      names[#names + 1] = name:match("^recipes/([%w_]+)%.lua$")
   end
   table.sort(names)
   return names
end

-- The text of a recipe: a file, one in a pack (.graft), or the name of one that comes with Graft (no slash and no .lua).
-- Returns {text=, name=, path=, chunk=, shipped=, pack=terms of the pack}.
function recipe.find(name)
   if core.guest then -- it came with the policy: this process may not look
      local guest = core.guest
      return { text = guest.text, name = guest.name, path = guest.path, chunk = guest.chunk, pack = guest.pack }
   elseif not name:find("/", 1, true) and not name:find("%.lua$") then
      local text = core.embedded("recipes/" .. name .. ".lua")
      if text then
         return { text = text, name = name, path = name, chunk = "=" .. name .. ".lua", shipped = true }
      elseif not core.stat(name) then
         local near = core.nearest(name, recipe.shipped())
         local all = format.wrap("Graft comes with " .. table.concat(recipe.shipped(), ", "), format.width() - 8)
         core.error("file", ("there is no recipe %q%s"):format(name, near
            and ("; nearest: %s (graft help recipes lists all)"):format(near) or "\n" .. table.concat(all, "\n")), near)
      end
   end
   local stat = core.stat(name)
   if not stat then
      core.error("file", core.missing(name, "recipe"))
   elseif stat.kind ~= "file" then
      core.error("file", name .. ": expected a recipe file, it is a " .. stat.kind)
   elseif name:find("%.graft$") then
      local pack = require "graft.pack"
      local read = pack.read(name)
      return { text = read.recipe, name = name:match("([^/]+)%.graft$") or "pack", path = name,
         chunk = "@" .. name:match("[^/]+$"), pack = pack.terms(read) }
   elseif stat.size > MAX_SIZE then
      core.error("file", ("%s: expected the text of a recipe, it has %s"):format(name, format.bytes(stat.size)))
   end
   return { text = core.read(name, MAX_SIZE), name = name:match("([^/]+)%.lua$") or name:match("[^/]+$"), path = name,
      chunk = "@" .. name:match("[^/]+$") }
end

local function print_to_stderr(...)
   local words = table.pack(...)
   for i = 1, words.n do
      words[i] = tostring(words[i])
   end
   io.stderr:write(table.concat(words, "\t"), "\n")
end

-- The globals of a recipe: Lua's own, plus `graft`; reading an undefined one raises with the nearest name.
local function environment()
   local env = {}
   for key, value in pairs(_G) do
      env[key] = value
   end
   env._G = env
   local out = context.json and print_to_stderr or print -- with --json, stdout holds one document and nothing else
   env.print = out
   if context.planning then -- print(graft.fit(...)) has nothing to print
      env.print = function(...)
         if select("#", ...) ~= 1 or not require("graft.plan").is_planned((...)) then
            out(...)
         end
      end
   end
   return setmetatable(env, {
      __index = function(self, key)
         local near = core.nearest(tostring(key), strict.keys(self))
         core.error("name", ("there is no global %q%s"):format(tostring(key),
            near and ('; nearest: "%s"'):format(near) or ""), near)
      end,
   })
end

-- --help ends the recipe at graft.options; one that declares none, before anything is made.
local function stop_for_help()
   if context.options.help then
      local o = context.options
      context.finish { exit = 0, text = require("graft.options").recipe_help(o.what, o.who, nil, o.text) }
   end
end

-- Reads and compiles a recipe; context.recipe and context.options are set for it.
function recipe.load(name, args, help)
   local found = recipe.find(name)
   local text = found.text
   context.recipe = found
   context.options = { args = args, who = name, help = help, what = context.mode, text = text }
   if found.pack then
      require("graft.pack").adopt(found.pack)
   end
   if text:sub(1, 1) == "\27" then
      core.error("file", name .. ": expected the text of a recipe, this is compiled Lua")
   elseif help and not text:find("options", 1, true) then -- it will not stop at graft.options by itself
      stop_for_help()
   end
   local env = core.guest and require("graft.guest").environment() or environment()
   local chunk, message = load(text, found.chunk, "t", env)
   if not chunk then
      core.error("file", "recipe does not compile: " .. message)
   elseif core.guest then
      return function()
         return require("graft.guest").call(chunk)
      end
   end
   env.graft = require "graft"
   return chunk
end

-- Before anything is trained, and after the recipe: options on the command line that it never asked for are a mistake.
function recipe.check_options()
   stop_for_help()
   if not context.options.declared and #context.options.args > 0 then
      require("graft.options").usage(("%s declares no options (graft.options{...}), so %s means nothing to it"):format(
         context.options.who, context.options.args[1]))
   end
end

return recipe
