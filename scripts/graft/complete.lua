-- Tab completion: names, fields and methods of values, names of options, layers, classes, files and topics of help. What is
-- before the cursor is read as tokens; nothing of it is run.

local core = require "graft.core"
local chunks = require "graft.chunks"
local reference = require "graft.reference"
local show = require "graft.show"

local complete = {}

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
   "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }
local is_keyword = {}
for _, word in ipairs(keywords) do
   is_keyword[word] = true
end

local function set(words)
   local t = {}
   for word in words:gmatch("%S+") do
      t[word] = true
   end
   return t
end

-- Methods of networks that take names of layers; those that give the network back; options that name a layer or classes.
local takes_layers = set "freeze unfreeze reinit lr_scale cut add_aux remove_aux features layers summary"
local several_layers = set "freeze unfreeze reinit lr_scale"
local gives_itself = set "freeze unfreeze reinit lr_scale replace_head add_head add_aux remove_aux exact save"
local gives_network = set "cut clone"
local names_layer = set "at layer"
local names_class = set "class classes class_weights"

-- Words that an option may be, where the reference does not say so.
local words_of_option = { keep = "best last", cache = "auto none", augment = "none light standard", bn = "train fixed",
   monitor = "val_accuracy val_loss val_f1 val_map", stash = "none bf16", prefix = "float32 bf16 int8", pool = "avg max",
   on_bad = "skip error", interpolation = "bilinear bicubic" }

-- What files a function reads, by their endings.
local endings = { ["graft.load"] = "safetensors pth pt bin", ["graft.image.load"] = "jpg jpeg png",
   ["graft.image.show"] = "jpg jpeg png", ["net:predict"] = "jpg jpeg png", ["net:preprocess"] = "jpg jpeg png",
   ["graft.data.csv"] = "csv tsv txt", ["graft.data.folder"] = "", ["graft.data.idx"] = "", ["graft.tensor.load"] = "npy",
   dofile = "lua", loadfile = "lua" }

-- --- values and their types ---

local prefixes = { ["graft.network"] = "net", ["graft.data"] = "data", ["graft.set"] = "set", ["graft.batch"] = "b",
   ["graft.trainer"] = "tr", ["graft.run"] = "run", ["graft.tensor"] = "x" }

local function type_of(value)
   if value == nil then
      return nil
   end
   local meta = getmetatable(value)
   if type(value) == "userdata" and meta == false then
      return "graft.tensor"
   elseif type(value) == "string" then
      return "string"
   end
   return type(meta) == "table" and rawget(meta, "__name") or nil
end

-- value[key] where that runs nothing of the user's.
local function index(value, key)
   local meta = getmetatable(value)
   local found
   if type(value) == "string" then
      found = string[key]
   elseif type(value) == "table" and (type(meta) ~= "table" or type(meta.__index) ~= "function") then
      found = rawget(value, key)
   elseif (type_of(value) or ""):find("^graft%.") or type(value) == "table" and rawget(value, key) ~= nil then
      local ok, result = pcall(function()
         return value[key]
      end)
      found = ok and result or nil
   end
   return found
end

-- What a call gives, by the name of what is called: a type, and the value where it is the one before the colon.
local function result_of(callee)
   local name = callee.name or ""
   local base = callee.base
   if base and base.type == "graft.network" then
      if gives_itself[callee.method] then
         return base
      elseif gives_network[callee.method] then
         return { type = "graft.network", value = callee.method == "clone" and base.value or nil }
      end
      local tensor = callee.method == "forward" or callee.method == "features" or callee.method == "preprocess"
      return { type = tensor and "graft.tensor" or nil }
   elseif base and callee.method == "take" then
      return { type = base.type }
   elseif base and base.type == "graft.tensor" then
      local words = set "item table save argmax argmin argsort topk close"
      return { type = not words[callee.method] and "graft.tensor" or nil }
   elseif name == "graft.load" or name == "graft.nn.network" or name:find("^graft%.models%.") then
      return { type = "graft.network" }
   elseif name:find("^graft%.data%.") then
      return { type = "graft.data" }
   elseif name == "graft.fit" or name == "graft.fine_tune" then
      return { type = "graft.run" }
   elseif name == "graft.trainer" then
      return { type = "graft.trainer" }
   elseif name == "graft.image.load" or name == "graft.image.resize" or name == "graft.tensor.load" or name == "graft.embed"
      or core.tensor[name:match("^graft%.(%w+)$")] then
      return { type = "graft.tensor" }
   elseif name == "require" then
      return { value = require "graft", path = "graft" }
   end
   return {}
end

-- --- tokens ---

-- The tokens of a text: {kind=, first=, last=, text=}, and whether the text ends inside of a comment. A string that is not
-- closed is the last token, with `open`: its quote, or "[" for a long one.
local function read(text)
   local list, next_token, position = {}, chunks.tokens(text), 1
   while true do
      local kind, first, last = next_token(position)
      if not kind then
         break
      end
      local token = { kind = kind, first = first, last = last, text = text:sub(first, last) }
      if kind == "string" then
         local quote = token.text:sub(1, 1)
         local body = token.text:sub(2):gsub("\\.", "..")
         if quote == "[" then
            token.open = not token.text:match("^%[(=*)%[.*%]%1%]$") and quote or nil
         else
            token.open = body:sub(-1) ~= quote and quote or nil
         end
      elseif kind:find("^[%a_]") and not is_keyword[kind] and kind ~= "number" then
         token.kind = "name"
      end
      list[#list + 1], position = token, last + 1
   end
   local rest = text:sub(#list > 0 and list[#list].last + 1 or 1)
   local in_comment = rest:find("%-%-%[=*%[") ~= nil or rest:match("[^\n]*$"):find("--", 1, true) ~= nil
   return list, in_comment
end

local closing = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

-- The bracket that the closing one at `i` belongs to.
local function matching(list, i)
   local depth = 0
   for k = i, 1, -1 do
      if closing[list[k].kind] then
         depth = depth + 1
      elseif list[k].kind == "(" or list[k].kind == "{" or list[k].kind == "[" then
         depth = depth - 1
         if depth == 0 then
            return k
         end
      end
   end
end

local function ends_expression(token)
   return token and (token.kind == "name" or token.kind == ")" or token.kind == "]" or token.kind == "}"
      or token.kind == "string" and not token.open)
end

local evaluate

-- The expression whose last token is a name.
local function evaluate_name(list, i, env)
   local name, before = list[i].text, list[i - 1] and list[i - 1].kind
   if before == "." and i > 2 then
      local base = evaluate(list, i - 2, env)
      local value = base.value ~= nil and index(base.value, name) or nil
      local path = base.path and base.path .. "." .. name
      return { value = value, type = type_of(value), path = path, name = path or show.name_of(value) }
   elseif before == ":" and i > 2 then
      local base = evaluate(list, i - 2, env)
      return { method = name, base = base, name = base.type and prefixes[base.type] and prefixes[base.type] .. ":" .. name }
   end
   local value = index(env, name)
   local known = type(value) == "function" and show.name_of(value)
   local path = rawequal(value, require "graft") and "graft" or nil
   return { value = value, type = type_of(value), path = path, name = known or name }
end

-- What is known of the expression that ends at token `i`: value=, type=, name= as in the reference, path= of what is in graft,
-- method= and base= of a method before its call.
function evaluate(list, i, env)
   local token = list[i]
   if not token then
      return {}
   elseif token.kind == "name" then
      return evaluate_name(list, i, env)
   elseif token.kind == "string" then
      if list[i - 1] and ends_expression(list[i - 1]) then
         return result_of(evaluate(list, i - 1, env))
      end
      return { type = "string", value = "" }
   elseif not closing[token.kind] then
      return {}
   end
   local open = matching(list, i)
   local before = open and list[open - 1]
   if not open or not ends_expression(before) then
      return open and token.kind == ")" and evaluate(list, i - 1, env) or {}
   elseif token.kind ~= "]" then
      return result_of(evaluate(list, open - 1, env))
   end
   local base, key = evaluate(list, open - 1, env), open == i - 2 and list[open + 1]
   if base.value == nil or not key then
      return {}
   end
   local value = index(base.value, key.kind == "number" and math.tointeger(tonumber(key.text)) or key.text:sub(2, -2))
   return { value = value, type = type_of(value) }
end

-- The brackets that are open at the end, the innermost last: {kind=, at=, callee=, key=, keys=, fresh=}. `callee` is the
-- position of the last token of what is called; `key` the key of a table that has its value now; `fresh`: an entry begins.
local function open_brackets(list)
   local stack = {}
   for i, token in ipairs(list) do
      local top, kind = stack[#stack], token.kind
      if kind == "(" or kind == "{" or kind == "[" then
         local called = ends_expression(list[i - 1]) and kind ~= "["
         if top then
            top.fresh = false
         end
         stack[#stack + 1] = { kind = kind, at = i, callee = called and i - 1 or nil, keys = {}, fresh = true }
      elseif closing[kind] then
         stack[#stack] = nil
      elseif top and (kind == "," or kind == ";") then
         top.fresh, top.key = true, nil
      elseif top and kind == "=" and top.kind == "{" and list[i - 1].kind == "name" then
         top.key, top.fresh = list[i - 1].text, false
         top.keys[top.key] = true
      elseif top and i < #list then
         top.fresh = false
      end
   end
   return stack
end

-- The call that the end of the text stands in: what is called, and the key of the outermost table of options.
local function call_around(list, stack, env)
   local key
   for n = #stack, 1, -1 do
      local bracket = stack[n]
      key = bracket.key or key
      if bracket.callee then
         return evaluate(list, bracket.callee, env), key, bracket
      end
   end
   return nil, key
end

-- --- candidates ---

-- Networks and data sets among the session's variables.
local function those_of(env, kind)
   local found = {}
   for _, value in pairs(env) do
      if type(value) == "table" and type_of(value) == kind then
         found[#found + 1] = value
      end
   end
   return found
end

local function add_layers(names, net, with_parameters)
   pcall(function() -- it may be closed
      for _, stage in ipairs(net.stages) do
         names[#names + 1] = stage
      end
      for name, layer in net:layers() do
         if not with_parameters or layer.parameters > 0 then
            names[#names + 1] = name
         end
      end
   end)
end

-- Layers of this network, or of all that there are; and words for several, where they may be named.
local function layer_names(net, env, method)
   local several = method and several_layers[method]
   local names = several and { "*", "body", "head", "aux" } or {}
   for _, each in ipairs(net and { net } or those_of(env, "graft.network")) do
      add_layers(names, each, several)
   end
   return names
end

-- Classes of the data sets that there are; of the networks too when a name has begun, since theirs are many.
local function class_names(env, part)
   local names = {}
   for _, kind in ipairs { "graft.data", "graft.network" } do
      for _, value in ipairs((kind == "graft.data" or #names == 0 or part ~= "") and those_of(env, kind) or {}) do
         local classes = index(value, "classes")
         table.move(classes or {}, 1, #(classes or {}), #names + 1, names)
      end
   end
   return names
end

-- Files whose name begins as `text` does; folders end with "/". `kinds`: endings that are wanted; where no file has one of
-- them, all are shown.
local function files(text, kinds)
   local folder, base = text:match("^(.*/)([^/]*)$")
   folder, base = folder or "", base or text
   local ok, list = pcall(core.list, folder == "" and "." or folder)
   local names, wanted, folders = {}, {}, {}
   for _, name in ipairs(ok and list or {}) do
      if name:sub(1, #base) == base then
         local stat = core.stat(folder .. name)
         local full = folder .. name .. (stat and stat.kind == "folder" and "/" or "")
         names[#names + 1] = full
         if full:sub(-1) == "/" then
            folders[#folders + 1] = full
         elseif kinds and set(kinds)[(name:match("%.(%w+)$") or ""):lower()] then
            wanted[#wanted + 1] = full
         end
      end
   end
   if not kinds or #wanted + #folders == 0 then
      return names
   end
   return table.move(folders, 1, #folders, #wanted + 1, wanted)
end

-- The options of a function of the reference: {name, type}.
local function options_of(name)
   local entry = reference.entry and reference.entry(name)
   local options = {}
   if entry then
      for i, option in ipairs(entry.options or {}) do
         options[i] = { option[1], option[2] }
      end
      return options
   end
   local text = reference.text(name)
   local signature = text and text:match("^(.-)\n    ") or ""
   local inner = signature:match("%b{}[^{}]*$") or signature:match("%b{}") or ""
   inner = inner:match("%b{}") or ""
   for option in inner:sub(2, -2):gsub("%b{}", ""):gmatch("([%a_][%w_]*)%s*=") do
      options[#options + 1] = { option }
   end
   return options
end

-- Names of options of what is called.
local function option_names(callee)
   local names = {}
   if callee.name and callee.name:find("^graft%.models%.") then
      names = { "classes", "size" }
   elseif callee.name and (callee.base == nil or callee.base.type) then
      for i, option in ipairs(options_of(callee.name)) do
         names[i] = option[1]
      end
   elseif callee.method then -- a layer of a network that is being built
      for _, kind in ipairs(core.kinds()) do
         for i, option in ipairs(kind.name == callee.method and kind.options or {}) do
            names[i] = option.name
         end
      end
   end
   return names
end

-- Words in quotes that the option `key` may be.
local function option_words(callee, key)
   local words = {}
   for _, option in ipairs(callee.name and reference.entry and options_of(callee.name) or {}) do
      if option[1] == key and option[2] then
         for word in option[2]:gmatch('"([^"]*)"') do
            words[#words + 1] = word
         end
      end
   end
   if #words == 0 and callee.name then
      for word in (words_of_option[key] or ""):gmatch("%S+") do
         words[#words + 1] = word
      end
   end
   return #words > 0 and words or nil
end

-- The network that a call is about: before its colon, or among its arguments.
local function network_of(callee, list, bracket, env)
   if callee.base and callee.base.type == "graft.network" then
      return callee.base.value
   end
   for i = bracket and bracket.at or #list + 1, #list do
      local value = list[i].kind == "name" and index(env, list[i].text)
      if type(value) == "table" and type_of(value) == "graft.network" then
         return value
      end
   end
end

-- What the open string at the end of `list` may be.
local function in_string(list, inside, env)
   local before = { table.unpack(list, 1, #list - 1) }
   local stack, previous = open_brackets(list), before[#before]
   local callee, key, bracket = call_around(list, stack, env)
   if previous and ends_expression(previous) then -- help "start"
      callee, key, bracket = evaluate(before, #before, env), nil, nil
   elseif previous and previous.kind == "[" and ends_expression(before[#before - 1]) then -- d.counts["mugs"]
      local names, value = {}, evaluate(before, #before - 1, env).value
      for name in pairs(type(value) == "table" and value or {}) do
         names[#names + 1] = type(name) == "string" and name or nil
      end
      return names
   end
   local n = #before
   local compared = n > 2 and before[n].kind == "=" and before[n - 1].kind == "=" and before[n - 2].text
   callee = callee or {}
   if callee.name == "help" then
      return require("graft.commands.help").names()
   elseif callee.name == "require" then
      return { "graft" }
   elseif names_class[key or compared or ""] or callee.method == "replace_head" or callee.method == "add_head" then
      return class_names(env, inside)
   elseif key and names_layer[key]
      or not key and takes_layers[callee.method] and (not callee.base or not callee.base.type
         or callee.base.type == "graft.network") then
      return layer_names(network_of(callee, list, bracket, env), env, not key and callee.method), true
   end
   return key and option_words(callee, key) or files(inside, endings[callee.name or ""])
end

-- Fields after `value.`, or methods after `value:`.
local function members(expression, method)
   local value, kind = expression.value, expression.type
   local names = {}
   if kind == "string" then
      value = string
   elseif kind then
      names = reference.members(kind, method and ":" or ".")
   end
   if type(value) == "table" and not (method and #names > 0) then
      for key in pairs(value) do
         if type(key) == "string" and key:find("^[%a_][%w_]*$") then
            names[#names + 1] = key
         end
      end
   end
   return names
end

-- What a name may be that begins here.
local function names_here(list, part, env)
   local stack = open_brackets(list)
   local top = stack[#stack]
   if top and top.kind == "{" and top.fresh then
      local callee, key = call_around(list, stack, env)
      local names = callee and (key == "class_weights" and class_names(env, part) or not key and option_names(callee)) or {}
      local left = {}
      for _, name in ipairs(names) do
         if not top.keys[name] and name:sub(1, #part) == part and name:find("^[%a_][%w_]*$") then
            left[#left + 1] = name
         end
      end
      if #left > 0 then
         return left, " = "
      end
   end
   local names = { table.unpack(keywords) }
   for name in pairs(env) do
      if type(name) == "string" then
         names[#names + 1] = name
      end
   end
   return names, ""
end

-- What the text before the cursor could go on with: candidates, the part of them that is there, what ends a whole one, and
-- whether they are cut at dots when there are many.
local function candidates(text, env)
   local list, in_comment = read(text)
   local last = list[#list]
   if in_comment or (last and last.open == "[") then
      return {}, "", ""
   elseif last and last.open then
      local inside = last.text:sub(2)
      local names, dotted = in_string(list, inside, env)
      return names, inside, last.open, dotted
   end
   local typing = last and last.last == #text and (last.kind == "name" or is_keyword[last.kind])
   local part = typing and last.text or ""
   local separator = list[#list - (typing and 1 or 0)]
   if separator and (separator.kind == "." or separator.kind == ":") then
      local base = evaluate(list, #list - (typing and 2 or 1), env)
      return members(base, separator.kind == ":"), part, ""
   elseif last and last.kind == "number" and last.last == #text then
      return {}, "", ""
   end
   if not typing then
      list[#list + 1] = { kind = "name", text = "", first = #text + 1, last = #text }
   end
   local names, ending = names_here(list, part, env)
   return names, part, ending
end

-- --- what is shown ---

local function common_start(names)
   local start = names[1]
   for i = 2, #names do
      while names[i]:sub(1, #start) ~= start do
         start = start:sub(1, -2)
      end
   end
   while not utf8.len(start) do -- never half a character
      start = start:sub(1, -2)
   end
   return start
end

local MAX_ROWS = 20
local MANY = 30 -- names with dots in them

-- Many names with dots, up to the next dot: "layer1.", or "layer1" where that is a name too.
local function cut_at_dots(names, part)
   local short, seen = {}, {}
   for _, name in ipairs(names) do -- sorted: "layer1" comes before "layer1.0"
      local dot = name:find(".", #part + 1, true)
      local cut = dot and name:sub(1, dot) or name
      if not seen[cut] and not (dot and seen[cut:sub(1, -2)]) then
         short[#short + 1], seen[cut] = cut, true
      end
   end
   return short
end

-- `text`: all before the cursor. Returns what to insert, and what to show below the line or nil.
function complete.line(text, env, width)
   if not text:match("[^\n]*$"):find("%S") then
      return "   " -- an indented line
   end
   local all, part, ending, dotted = candidates(text, env)
   local names, seen = {}, {}
   for _, name in ipairs(all) do
      if name:sub(1, #part) == part and not seen[name] and (part ~= "" or not name:find("^_")) then
         names[#names + 1], seen[name] = name, true
      end
   end
   table.sort(names)
   if #names == 0 then
      return ""
   elseif #names == 1 then
      return names[1]:sub(#part + 1) .. (names[1]:sub(-1) ~= "/" and ending or "")
   end
   local more = common_start(names):sub(#part + 1)
   if more ~= "" then
      return more
   end
   names = dotted and #names > MANY and cut_at_dots(names, part) or names
   for i, name in ipairs(names) do
      names[i] = show.printable(name:match("([^/]+/?)$") or name)
   end
   return "", show.side_by_side(names, width, MAX_ROWS)
end

return complete
