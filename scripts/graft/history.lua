-- What was typed at the prompt, kept in a file from session to session: one entry a line, "\n" for a line end inside of one.

local core = require "graft.core"

local history = {}

local MOST = 2000 -- entries; the oldest go first
local LONGEST = 65536 -- bytes of an entry

local file -- nil: nothing is kept
local last -- the latest entry: the same twice in a row is one

-- GRAFT_HISTORY, or the user's folder of states. GRAFT_HISTORY= keeps nothing.
function history.path()
   local chosen, states, home = os.getenv("GRAFT_HISTORY"), os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
   if chosen then
      return chosen ~= "" and chosen or nil
   elseif states and states:find("^/") then -- its standard wants a relative one to be ignored
      return states .. "/graft/history"
   end
   return home and home ~= "" and home .. "/.local/state/graft/history" or nil
end

local function encode(text)
   return (text:gsub("[\\\n\r]", { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r" }))
end

local function decode(line)
   return (line:gsub("\\(.)", { ["\\"] = "\\", n = "\n", r = "\r" }))
end

-- The latest entries of a file, the oldest first, and how many there are in all.
local function read(path)
   local entries, count = {}, 0
   for line in io.lines(path) do
      count = count + 1
      entries[count % MOST] = line
   end
   local list = {}
   for i = math.max(count - MOST, 0) + 1, count do
      list[#list + 1] = entries[i % MOST]
   end
   return list, count
end

-- Reads what earlier sessions kept, and keeps from now on. Where that cannot be, the history lasts as long as the session.
function history.open()
   local path = history.path()
   if not path then
      return
   end
   local ok = pcall(function()
      local folder = path:match("^(.+)/[^/]*$")
      if folder then
         core.make_folder(folder)
      end
      core.make_private(path)
      local list, count = read(path)
      if count > MOST then
         core.write(path, table.concat(list, "\n") .. "\n")
         core.make_private(path)
      end
      for _, line in ipairs(list) do
         if not line:find("\0", 1, true) then
            last = decode(line)
            core.remember(last)
         end
      end
   end)
   file = ok and path or nil
end

-- An entry of this session. What begins with a blank is not kept: a password, say.
function history.add(text)
   if text:find("^%s") or text == "" or #text > LONGEST or text:find("\0", 1, true) or text == last then
      return
   end
   last = text
   core.remember(text)
   local out <close> = file and io.open(file, "a") or nil
   if out then
      out:write(encode(text) .. "\n")
   end
end

return history
