-- graft new NAME: a commented recipe for one cell of the 2x2 table, data size against similarity.

local core = require "graft.core"
local context = require "graft.context"
local format = require "graft.format"
local options = require "graft.options"

local command = {}

local LITTLE = 500 -- photos a class below which data is little

local situations = { -- name, what the recipe does, why
   { "little-similar", "train the head only", "What ImageNet taught fits your photos as it is; a few photos are enough for a "
      .. "classifier, and too few for more." },
   { "much-similar", "fine-tune the top", "What ImageNet taught fits your photos; with so many of them the most specific layers "
      .. "can learn yours without forgetting." },
   { "little-different", "classifiers at several depths", "The top of the network knows ImageNet's things, which yours are not; "
      .. "its lower stages know edges and textures, which yours have too. How low is found by trying." },
   { "much-different", "fine-tune everything", "Pretrained layers are a better start than random ones, and there are photos "
      .. "enough to move all of them." },
}

local names = {}
for i, situation in ipairs(situations) do
   names[i] = situation[1]
end

command.options = {
   situation = { type = "choice", choices = names, help = "cell of the table" },
   data = { type = "folder", help = "your photos: looked at, to say how many there are" },
   weights = { type = "file", help = "pretrained weights, for the commands that are shown" },
}

command.notes = [[
                  like ImageNet            unlike ImageNet
  little data     train the head only      classifiers at several depths
  more data       fine-tune the top        fine-tune everything

On a terminal it asks for what the options leave open.]]

-- {photos=, classes=, each=, name=} of a folder of photos.
local function look(path)
   local stat = core.stat(path)
   if stat and stat.kind ~= "folder" then
      core.error("data", path .. ": expected a folder of photos; for a table see graft run csv_multilabel --help")
   end
   local quiet = context.quiet
   context.quiet = true
   local d = require("graft.commands.eval").open_data(path)
   context.quiet = quiet
   local count, classes = #d.train, #d.classes
   return { photos = count, classes = classes, each = count // math.max(classes, 1), name = path:match("([^/]+)/*$") or path }
end

-- --- answers ---

local function ask(question)
   local line, reason = core.read_line(question)
   if not line then
      if reason then
         error({ exit = reason == "terminate" and 143 or 130, text = "nothing was written" }, 0)
      end
      return ""
   end
   return line:match("^%s*(.-)%s*$")
end

local function ask_path(question, kind)
   while true do
      local answer = ask(question)
      local stat = answer ~= "" and core.stat(answer)
      if answer == "" then
         return nil
      elseif stat and stat.kind == kind then
         return answer
      end
      print(("%s: no such %s"):format(core.printable(answer), kind))
   end
end

local function ask_words(question, words)
   while true do
      local answer = ask(question):lower()
      if words[answer] ~= nil then
         return words[answer]
      end
   end
end

-- Fills in what the command line left open. Returns the situation, and the data that was looked at or nil.
local function interview(given)
   if not (given.situation and given.data and given.weights) then
      print("A recipe from a few questions; Enter leaves a path open.\n")
   end
   given.data = given.data or ask_path("Your photos (a folder, one folder a class): ", "folder")
   local seen = given.data and look(given.data)
   given.weights = given.weights or ask_path("Pretrained weights (a file): ", "file")
   if given.situation then
      return given.situation, seen
   end
   local little
   if seen then
      little = seen.each < LITTLE
      print(("%s of %s, %d a class: %s data"):format(format.plural(seen.photos, "photo"), format.plural(seen.classes, "class",
         "classes"), seen.each, little and "little" or "more"))
   else
      little = not ask_words(("Have you %d photos a class or more (y/n)? "):format(LITTLE), { y = true, yes = true, n = false,
         no = false })
   end
   local similar = ask_words("Do they look like ImageNet's: animals, things, food, places, by a camera (y/n)? ",
      { y = true, yes = true, n = false, no = false })
   return (little and "little" or "much") .. (similar and "-similar" or "-different"), seen
end

-- Without a terminal: from looking, said aloud.
local function guess(given)
   local seen = given.data and look(given.data)
   if given.situation then
      return given.situation, seen
   elseif not seen then
      options.usage(("graft new needs --situation (one of %s), or --data to look at"):format(table.concat(names, ", ")))
   end
   local little = seen.each < LITTLE
   context.note(("%s: %d photos a class, so %s data (%s %d)"):format(given.data, seen.each, little and "little" or "more",
      little and "below" or "at least", LITTLE))
   context.note("whether they look like ImageNet's cannot be counted, so similar is assumed; if not: --situation "
      .. (little and "little" or "much") .. "-different")
   return little and "little-similar" or "much-similar", seen
end

-- --- the file ---

local function wrap(text, width, start)
   local lines, line = {}, start
   for word in text:gmatch("%S+") do
      if #line + 1 + #word > width and #line > #start then
         lines[#lines + 1], line = line, start
      end
      line = line .. " " .. word
   end
   lines[#lines + 1] = line
   return table.concat(lines, "\n")
end

local function table_line(label, situation, left, right)
   local function cell(name, text)
      return situation == name and "> " .. text .. " <" or "  " .. text
   end
   return ("--    %-12s%-27s%s"):format(label, cell(left, situations[left == "little-similar" and 1 or 2][2]),
      cell(right, situations[right == "little-different" and 3 or 4][2])):gsub("%s+$", "")
end

local function heading(file, situation, seen)
   local index = 1
   while names[index] ~= situation do
      index = index + 1
   end
   local lines = { ("-- %s: %s data that %s what the network was trained on."):format(file:match("([^/]+)%.lua$"),
      situation:find("^little") and "little" or "more", situation:find("similar$") and "looks like" or "is unlike"), "--",
      ("--    graft plan %s --data PHOTOS --weights WEIGHTS    what it would do, before it does"):format(file:match("[^/]+$")),
      ("--    graft run  %s --data PHOTOS --weights WEIGHTS"):format(file:match("[^/]+$")), "--",
      seen and ("-- You are here (%s to train on, %d a class):"):format(format.plural(seen.photos, "photo"), seen.each)
         or "-- You are here:", "--", "--                  like ImageNet              unlike ImageNet",
      (table_line("little data", situation, "little-similar", "little-different")),
      (table_line("more data", situation, "much-similar", "much-different")), "--", wrap(situations[index][3], 120, "--"), "" }
   return table.concat(lines, "\n") .. "\n"
end

local function write(file, situation, seen)
   local template = core.embedded(("graft/new/%s.lua"):format((situation:gsub("-", "_"))))
   local text = template:gsub("RECIPE", (file:match("[^/]+$"):gsub("%%", "%%%%")))
   core.write(file, heading(file, situation, seen) .. text)
end

-- The file that NAME stands for, which must not be there.
local function file_of(name)
   local file = name:gsub("%.lua$", "") .. ".lua"
   local base, folder = file:match("([^/]+)%.lua$"), file:match("^(.*)/")
   if not base or base:find("[^%w_.-]") or base:find("^[-.]") then
      options.usage(("graft new: expected a name of letters, digits, - and _, got %q"):format(name))
   elseif core.stat(file) then
      core.error("file", file .. ": is there already, and graft new overwrites nothing; choose another name")
   elseif folder and folder ~= "" and not core.stat(folder) then
      core.error("file", core.missing(folder, "folder"))
   end
   return file
end

local function shell_word(word)
   return word:find("^[%w_./=:@%%+,-]+$") and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft new")
   if #rest ~= 1 then
      options.usage("graft new needs a name: graft new NAME [--situation S] [--data DIR] [--weights FILE]")
   end
   local file = file_of(rest[1])
   local asks = core.interactive() and core.terminal("stdout") ~= nil and not context.json
   local situation, seen = (asks and interview or guess)(given)
   write(file, situation, seen)
   local words = ("%s --data %s --weights %s"):format(shell_word(file), given.data and shell_word(given.data) or "PHOTOS",
      given.weights and shell_word(given.weights) or "WEIGHTS")
   if context.json then
      print(core.json({ file = file, situation = situation, photos = seen and seen.photos or core.null,
         photos_a_class = seen and seen.each or core.null, next = "graft plan " .. words }, 2))
      return 0
   end
   local what
   for _, row in ipairs(situations) do
      what = row[1] == situation and row[2] or what
   end
   local rows = { { "written", ("%s: %s (%s)"):format(file, what, situation) }, { "next", "graft plan " .. words },
      { "then", "graft run " .. words } }
   if not given.weights then
      rows[#rows + 1] = { "", "no weights yet?  graft help weights" }
   end
   print(format.columns(rows, "ll"))
   return 0
end

return command
