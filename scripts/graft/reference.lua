-- The reference: what every name of Graft is for, written once, as data, in scripts/graft/reference/. From it come
-- `graft help NAME`, help "NAME" at the prompt, the names that Tab knows, and, by `make docs`, a page in Markdown, the manual
-- page and a stub with types for editors (graft help --markdown, --man, --luals). tests/lua/reference_spec.lua fails when a name
-- that Lua can reach has no entry, when an entry names nothing, when an option is missing or has another type, and it runs
-- every example.
--
-- A file is a topic: {name = "networks", title = "Networks", text = "...", entries = {...}}, or {name=, title=, pages =
-- {{name=, title=, text=}}}; `files` below lists them. Texts are paragraphs with an empty line between. An entry is a table of
--
--   name       as one writes it. net stands for a network, data for a data set, set for one of its parts, b for a batch, tr for
--              a trainer, run and result for what fit and evaluate return, p for a probe, a for an
--              advice, x for a tensor, node, loss, layer, err: `prefixes`.
--              Operators have a name too: "net(x)", "#set", "x[i]"; a command is "graft run"
--   text       what it does. Its first sentence has to stand alone: lists show nothing else
--   arguments  list of {name, type, default, text}; "..." for any number of them
--   options    the same for the keys of the table that is its last argument; a fifth value is such a list for a table in it
--   returns    list of {type, text}; without it nothing is returned
--   type       of a field
--   fields     list of {name, type, text}: what is in the table that a field holds or a function returns
--   errors     list of {kind, when}, or {kind, when, code}: the test runs the code, which must raise an error of that kind
--   example    Lua that runs with the names of `preamble`; what `print(...) --> text` prints is compared with the text (two
--              blanks for a tab)
--   shell      an example for the command line
--   see        list of names
--   overloads  list of types of other forms of the call, for the stub alone
--
-- Types are written as the Lua language server has them: string, integer, number, boolean, graft.network, string[],
-- "a"|"b", fun(x: graft.node): graft.node, table<string, integer>. A default is Lua text, "required", or "" where leaving it
-- out is a case of its own that the text explains.

local format = require "graft.format"

local reference = {}

-- Files in scripts/graft/reference/, in the order of the page.
reference.files = { "start", "networks", "layers", "data", "training", "lr_find", "results", "probes", "study", "looking",
   "tensors", "image", "session", "command_line", "elsewhere", "security" }

-- What stands before the names of a type's methods and fields, by the __name of its metatable.
reference.prefixes = { ["graft.network"] = "net", ["graft.data"] = "data", ["graft.set"] = "set", ["graft.sample"] = "sample",
   ["graft.batch"] = "b", ["graft.trainer"] = "tr", ["graft.run"] = "run", ["graft.result"] = "result",
   ["graft.lr"] = "found", ["graft.map"] = "map", ["graft.probe"] = "p", ["graft.advice"] = "a", ["graft.study"] = "s",
   ["graft.tensor"] = "x", ["graft.node"] = "node", ["graft.loss"] = "loss", ["graft.layer"] = "layer",
   ["graft.error"] = "err" }

-- The names that examples may use without making them, as the test makes them: each when it is first read.
reference.preamble = {
   { "d", 'graft.data.folder("photos", { val = 0.25 })', 'photos of two classes, "ants" and "bees"' },
   { "net", 'graft.load("resnet18.safetensors"):replace_head(d):freeze("body")', "a pretrained network with a new head" },
   { "tr", "graft.trainer(net, { optimizer = graft.sgd{ lr = 0.01 } })", "a trainer" },
   { "run", "graft.fit(net, d, { epochs = 3 })", "what a training returned" },
   { "result", "graft.evaluate(net, d.val)", "what a measurement returned" },
   { "found", 'graft.lr_find(net:unfreeze("*"), d, { start = 1e-3 })', "what a search for the rate returned" },
   { "p", "graft.probe(net, d, { folds = 3 })", "what a probe returned" },
   { "a", "graft.advise(p)", "an advice" },
   { "s", 'graft.study{ vary = { { "init", { "pretrained", "random" } } }, seeds = { 1 }, trial = function() '
      .. 'return graft.fit(net, d, { epochs = 1 }) end }', "what a study returned" },
   { "x", "graft.tensor{ { 1, 2, 3 }, { 4, 5, 6 } }", "a tensor of shape [2,3]" },
}

-- --- collecting ---

local topics, entries, by_name -- made when they are first needed: a program that asks for no help never reads them

local function load()
   if topics then
      return
   end
   topics, entries, by_name = {}, {}, {}
   for i, file in ipairs(reference.files) do
      local topic = require("graft.reference." .. file)
      topics[i] = topic
      for _, entry in ipairs(topic.entries or {}) do
         if by_name[entry.name] then
            error(("the reference has two entries for %s"):format(entry.name))
         end
         entries[#entries + 1], by_name[entry.name], entry.topic = entry, entry, topic
      end
   end
end

-- Pages that explain: {name=, title=, text=} of every topic that has some.
function reference.pages()
   load()
   local pages = {}
   for _, topic in ipairs(topics) do
      table.move(topic.pages or {}, 1, #(topic.pages or {}), #pages + 1, pages)
   end
   return pages
end

-- Topics in the order of the page, and all entries.
function reference.topics()
   load()
   return topics
end

function reference.entries()
   load()
   return entries
end

-- The entry of a full name, or nil.
function reference.entry(name)
   load()
   return by_name[name]
end

local function last_word(name)
   return name:match("[%w_]+$")
end

-- Entries of this name, or of all names that end so ("load": graft.load, graft.image.load ...).
function reference.find(name)
   load()
   local own = by_name[name]
   if own and not own.elsewhere then
      return { own }
   end
   local found = { own }
   for _, entry in ipairs(entries) do
      if last_word(entry.name) == name and entry ~= own then
         found[#found + 1] = entry
      end
   end
   return found
end

-- What `graft.a.b` is now, or nil.
local function resolve(name)
   local value = require "graft"
   for part in name:gsub("^graft%.", ""):gmatch("[^%.]+") do
      value = type(value) == "table" and value[part]
   end
   return value
end

local function name_of_type(value)
   local meta = getmetatable(value)
   if type(value) == "userdata" and meta == false then
      return "graft.tensor"
   end
   return type(meta) == "table" and rawget(meta, "__name") or nil
end

-- The entries of a value: of a function of Graft its own, of a network or tensor all its fields and methods.
function reference.of_value(value)
   load()
   local found, prefix = {}, reference.prefixes[name_of_type(value)]
   for _, entry in ipairs(entries) do
      if type(value) == "function" then
         local method = entry.name:match("^net:([%w_]+)$")
         local own = method and require("graft.network").methods[method] or entry.name:find("^graft%.[%w_%.]+$")
            and not entry.name:find("^graft%.models%.") and resolve(entry.name)
         found[#found + 1] = own == value and entry or nil
      elseif prefix and entry.name:find("^%#?" .. prefix .. "%f[^%w_]") then
         found[#found + 1] = entry
      end
   end
   return type(value) == "function" and { found[1] } or found
end

-- Names after `value:` or `value.` for a value of this type (its metatable's __name).
function reference.members(type_name, separator)
   load()
   local start, names = reference.prefixes[type_name], {}
   for _, entry in ipairs(start and entries or {}) do
      names[#names + 1] = entry.name:match("^" .. start .. "%" .. separator .. "([%w_]+)$")
   end
   return names
end

-- All names, in full and as the last word alone, without order.
function reference.names()
   load()
   local names, seen = {}, {}
   local function add(name)
      if name and not seen[name] then
         names[#names + 1], seen[name] = name, true
      end
   end
   for _, entry in ipairs(entries) do
      add(entry.name)
      add(last_word(entry.name))
   end
   return names
end

-- --- in words ---

local words = { ["graft.data"] = "data set", ["graft.class_source"] = "list of strings or data set",
   ["graft.loss_function"] = "function" }

-- Cuts "a|fun(x: b|c): d|e" at the bars that stand outside of brackets. What follows fun(...): belongs to it up to a bar.
local function alternatives(kind)
   local list, depth, start = {}, 0, 1
   for i = 1, #kind do
      local c = kind:sub(i, i)
      if c:find("[%(<{%[]") then
         depth = depth + 1
      elseif c:find("[%)>}%]]") then
         depth = depth - 1
      elseif c == "|" and depth == 0 then
         list[#list + 1], start = kind:sub(start, i - 1), i + 1
      end
   end
   list[#list + 1] = kind:sub(start)
   return list
end
reference.alternatives = alternatives

local function either(list)
   if #list > 2 then
      return table.concat(list, ", ", 1, #list - 1) .. " or " .. list[#list]
   end
   return table.concat(list, " or ")
end

local one_word

-- "strings", "lists of integers", "strings or tensors"
local function plural(kind)
   local inner, several = kind:match("^(.*)%[%]$"), kind:match("^%((.*)%)$")
   if inner then
      return "lists of " .. plural(inner)
   elseif several then
      local list = alternatives(several)
      for i, one in ipairs(list) do
         list[i] = plural(one)
      end
      return either(list)
   end
   return one_word(kind) .. "s"
end

function one_word(kind)
   local inner = kind:match("^(.*)%[%]$")
   if words[kind] then
      return words[kind]
   elseif kind:find("^fun%(") then
      return "function"
   elseif inner then
      return "list of " .. plural(inner)
   elseif kind:find("^table<") or kind:find("^{") then
      return "table"
   end
   return (kind:gsub("^graft%.", ""))
end

-- A type as a sentence has it: "string or list of strings", '"avg" or "max"', "network", "number or nil".
function reference.type_words(kind)
   local list, optional = {}, false
   for i, one in ipairs(alternatives(kind)) do
      optional = optional or (one:find("%?$") and not one:find("^fun%("))
      list[i] = one_word(one:find("^fun%(") and one or one:gsub("%?$", "") .. "")
   end
   list[#list + 1] = optional and "nil" or nil
   return either(list)
end

-- "graft run RECIPE [OPTIONS]"
function reference.usage(entry)
   if entry.arguments_text then
      return (entry.name .. " " .. entry.arguments_text):gsub("%s+$", "")
   end
   for _, command in ipairs(require("graft.cli").commands) do
      if command[1] == entry.command then
         return ("graft %s %s"):format(command[1], command[2] ~= "" and command[2] or "[OPTIONS]")
      end
   end
end

-- The options of a command as {option, words of its type, default, what it does}: its own, sorted, then those of all commands.
function reference.command_options(entry)
   local options, strict = require "graft.options", require "graft.strict"
   local of_recipes = entry.command == "run" or entry.command == "plan"
   local own = entry.command and require("graft.commands." .. entry.command).options or {}
   local rows, listed = {}, options.listed
   local function add(name, option)
      local choices = option.choices and "; one of " .. table.concat(option.choices, ", ") or ""
      rows[#rows + 1] = { listed.flag(name), option.value or listed.words[option.type] or "",
         option.default ~= nil and tostring(option.default) or "", (((option.help or "") .. choices):gsub("^; ", "")) }
   end
   for _, name in ipairs(strict.keys(own)) do
      add(name, own[name])
   end
   for _, name in ipairs(of_recipes and listed.runs or next(own) and listed.commands or {}) do
      if not own[name] then
         add(name, options.common[name])
      end
   end
   return rows
end

-- How it is called: "graft.fit(net, data [, {...}]) -> run", "graft.sgd{...} -> optimizer", "run.best".
function reference.signature(entry)
   if entry.signature then
      return entry.signature
   elseif entry.command or entry.arguments_text then
      return reference.usage(entry)
   end
   local text = entry.name
   local arguments = entry.arguments or {}
   if entry.arguments or entry.options then
      if #arguments == 0 and entry.options then
         text = text .. "{...}"
      else
         local list, closing = "", 0
         local function add(word, optional)
            if optional then
               list, closing = list .. (list == "" and "[" or " [, ") .. word, closing + 1
            else
               list = list .. (list == "" and "" or ", ") .. word
            end
         end
         for _, argument in ipairs(arguments) do
            add(argument[1], argument[3] ~= "required" and argument[1] ~= "...")
         end
         if entry.options then
            add("{...}", not entry.options_required)
         end
         text = ("%s(%s%s)"):format(text, list, ("]"):rep(closing))
      end
   end
   local returned = {}
   for i, value in ipairs(entry.returns or {}) do
      returned[i] = reference.type_words(value[1])
   end
   return #returned > 0 and text .. " -> " .. table.concat(returned, ", ") or text
end

-- The first sentence of its text.
function reference.summary(entry)
   local text = entry.text:match("^[^\n]*")
   local stop = text:find("[%.%?]%s+%u")
   return stop and text:sub(1, stop) or text
end

local MOST = 3 -- entries that are shown in full

-- The entries of a name as text for a terminal of `width` columns; of many a list; nil when there are none.
function reference.text(name, width)
   local found, parts = reference.find(name), {}
   width = width or format.width()
   if #found > MOST then
      return ("%s is a part of several names:\n\n%s\n\nMore on each: graft help NAME"):format(name, reference.list(found, width))
   end
   for i, entry in ipairs(found) do
      parts[i] = require("graft.reference_text").entry(entry, width)
   end
   return #parts > 0 and table.concat(parts, "\n\n") or nil
end

-- A line for each entry: how it is called, what it does.
function reference.list(found, width)
   local rows = {}
   for i, entry in ipairs(found) do
      rows[i] = { entry.name, reference.summary(entry) }
   end
   return format.table(rows, width or format.width(), "  ")
end


return reference
