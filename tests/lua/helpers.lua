-- What the end-to-end tests share: a temporary folder, photos and networks made on the spot, and the program `graft`
-- run as a person would run it. Everything is removed when the tests end.
local graft = require "graft"
local core = require "graft.core"

local helpers = {}

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read "a"
  file:close()
  return text
end
helpers.read = read

function helpers.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function shell(command)
  local pipe = assert(io.popen("unset LD_PRELOAD; " .. command))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("\n$", ""))
end
helpers.shell = shell

local root = shell "mktemp -d"
helpers.root = root
-- Lua closes its state when the tests end, and the folder goes with it.
helpers.keeper = setmetatable({}, { __gc = function()
  os.execute(("unset LD_PRELOAD; rm -rf '%s'"):format(root))
end })

local build = os.getenv "GRAFT_BUILD" or "build"
local here = shell "pwd"
helpers.tests = here .. "/tests"
helpers.program = (build:find "^/" and build or here .. "/" .. build) .. "/graft"

-- A path in the temporary folder.
function helpers.path(name)
  return root .. "/" .. name
end

-- A path that nothing has used yet.
local counter = 0
function helpers.fresh(name)
  counter = counter + 1
  return ("%s/%s-%d"):format(root, name or "new", counter)
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- Recipes that a test wrote name files of the temporary folder, which the sandbox lets them read then. Not for
-- options.strict, nor for recipes that take what they need as options.
local function command_of(words, options)
  local quoted = { quote(helpers.program) }
  for i, word in ipairs(words) do
    quoted[i + 1] = quote(word)
  end
  if not options.strict and (words[1] == "run" or words[1] == "plan") and words[2] and words[2]:find(root, 1, true) == 1 then
    quoted[3] = quoted[3] .. " --read " .. quote(root)
  end
  return table.concat(quoted, " ")
end

-- Runs `graft WORDS...` in the temporary folder. Returns a table with status, out and err. `options.before`: shell
-- commands that run first, such as a limit; `options.out`: where stdout goes instead.
function helpers.graft(words, options)
  options = options or {}
  local out, err = options.out or root .. "/stdout", root .. "/stderr"
  local _, _, status = os.execute(("unset LD_PRELOAD; cd %s; %s timeout -k 5 240 %s >%s 2>%s </dev/null"):format(
    quote(root), options.before or "", command_of(words, options), quote(out), quote(err)))
  return { status = status, out = not options.out and read(out) or "", err = read(err), words = table.concat(words, " ") }
end

-- Starts `graft WORDS...`, waits until its stderr holds `options.after`, then `options.delay` seconds more, and sends
-- it the signals that `options.signals` lists. `options.before` and what is returned are those of helpers.graft.
function helpers.interrupted(words, options)
  local out, err = root .. "/stdout", root .. "/stderr"
  local kills = {}
  for i, signal in ipairs(options.signals or { "KILL" }) do
    kills[i] = ("kill -%s $pid 2>/dev/null"):format(signal)
  end
  local script = ([[unset LD_PRELOAD; cd %s; %s : >%s; %s >%s 2>%s </dev/null & pid=$!; n=0
    while ! grep -q %s %s && kill -0 $pid 2>/dev/null && [ $n -lt 6000 ]; do sleep 0.01; n=$((n + 1)); done
    sleep %s; { %s; wait $pid; } 2>/dev/null]]):format(quote(root), options.before or "", quote(err),
    command_of(words, options), quote(out), quote(err), quote(options.after or ""), quote(err), options.delay or 0,
    table.concat(kills, "; sleep 0.02; "))
  local _, _, status = os.execute(script)
  return { status = status, out = read(out), err = read(err), words = table.concat(words, " ") }
end

-- What a run said, for messages of tests.
local function told(result)
  return ("graft %s: status %s\n--- stdout\n%s\n--- stderr\n%s"):format(result.words, result.status,
    result.out:sub(1, 2000), result.err:sub(-2000))
end
helpers.told = told

-- Runs and expects status 0.
function helpers.done(words, options)
  local result = helpers.graft(words, options)
  if result.status ~= 0 then
    error(told(result), 0)
  end
  return result
end

-- Runs and expects this status, and that stderr holds each of the pieces. Nothing may look like a crash or like an
-- error of Lua's own.
function helpers.refused(words, status, pieces, options)
  local result = helpers.graft(words, options)
  if result.status ~= status then
    error(("expected status %d\n"):format(status) .. told(result), 0)
  end
  for _, piece in ipairs(type(pieces) == "table" and pieces or { pieces }) do
    if not result.err:find(piece, 1, true) then
      error(("expected %q\n"):format(piece) .. told(result), 0)
    end
  end
  for _, crash in ipairs { "stack traceback", "attempt to", "bad argument", "Sanitizer", "core dumped" } do
    if result.err:find(crash, 1, true) then
      error(("this looks like a mistake of Graft's own: %q\n"):format(crash) .. told(result), 0)
    end
  end
  return result
end

-- The JSON document on stdout, which holds nothing else.
function helpers.json(words, options)
  local with = { table.unpack(words) }
  with[#with + 1] = "--json"
  local result = helpers.done(with, options)
  local ok, document = pcall(core.parse_json, result.out)
  if not ok then
    error("stdout is not one JSON document: " .. tostring(document) .. "\n" .. told(result), 0)
  end
  return document, result
end

-- Raises unless the table has each of these fields.
function helpers.has_keys(t, keys, what)
  for _, key in ipairs(keys) do
    if rawget(t, key) == nil then
      error(("%s has no key %q"):format(what, key), 0)
    end
  end
end

-- Writes a recipe into the temporary folder; returns its path.
function helpers.recipe(text, name)
  return helpers.write(name and helpers.path(name) or helpers.fresh "recipe" .. ".lua", text)
end

-- Runs a recipe given as text and returns the lines "name value" that it printed as a table.
function helpers.told_by(text, words)
  local all = { "run", helpers.recipe('local graft = require "graft"\n' .. text), "--out", helpers.fresh "run" }
  for _, word in ipairs(words or {}) do
    all[#all + 1] = word
  end
  local result = helpers.done(all)
  local values = {}
  for name, value in result.out:gmatch "([%w_%.:]+) ([^\n]*)\n" do
    values[name] = tonumber(value) or value
  end
  return values, result
end

-- ---- photos ----

local colours = { mugs = { 0.8, 0.3, 0.3 }, bowls = { 0.3, 0.8, 0.3 }, plates = { 0.3, 0.3, 0.8 }, vases = { 0.7, 0.7, 0.2 },
  bees = { 0.7, 0.6, 0.2 } }

-- A photo of this class: its colour under noise, each number another one.
function helpers.photo(class, number, size)
  core.seed(number * 100 + #class)
  size = size or 20
  local planes = {}
  for c = 1, 3 do
    planes[c] = graft.rand(size, size + 4) * 0.5 + ((colours[class] or { 0.5, 0.5, 0.5 })[c] - 0.25)
  end
  return graft.stack(planes)
end

-- A folder with `count` photos of each class, PNG and JPEG in turns. Returns its path.
function helpers.photos(name, classes, count, first)
  local folder = helpers.path(name)
  for _, class in ipairs(classes) do
    core.make_folder(folder .. "/" .. class)
    for i = 1, count do
      local number = i + (first or 0)
      graft.image.save(helpers.photo(class, number), ("%s/%s/%d.%s"):format(folder, class, number,
        i % 2 == 0 and "png" or "jpg"))
    end
  end
  return folder
end

-- ---- networks ----

helpers.old_classes = { "one", "two", "three", "four", "five" }

-- The text of a recipe's function that builds the network below.
helpers.mini_text = [[
local function mini(classes)
  local function unit(x, name, out, stride)
    return x:conv2d(name .. ".conv", { out = out, kernel = 3, stride = stride, padding = 1, bias = false })
      :batch_norm(name .. ".bn"):relu()
  end
  return graft.nn.network { name = "mini", input = { 3, 16, 16 }, classes = classes, head = "fc",
    stages = { "conv1", "layer1", "layer2", "layer3", "layer4" },
    build = function(x)
      x = unit(x, "conv1", 8, 1)
      x = unit(x, "layer1", 8, 1)
      x = unit(x, "layer2", 12, 2)
      x = unit(x, "layer3", 16, 2) + x:conv2d("layer3.shortcut", { out = 16, kernel = 1, stride = 2 })
      x = unit(x, "layer4", 16, 1)
      return x:global_avg_pool():dropout(0.1):linear("fc", { out = #classes })
    end }
end
]]

-- A small network as a model file: what the tests take as pretrained. Five classes that no photo has.
function helpers.weights(name)
  local path = helpers.path(name or "mini.safetensors")
  if not core.stat(path) then
    core.seed(7)
    local mini = assert(load('local graft = require "graft"\n' .. helpers.mini_text .. "\nreturn mini"))()
    mini(helpers.old_classes):save(path)
  end
  return path
end

-- The tensors of a weights file by name.
function helpers.tensors(path)
  local weights <close> = core.weights(path)
  local all = {}
  for _, tensor in ipairs(weights:tensors()) do
    all[tensor.name] = weights:get(tensor.name)
  end
  return all
end

-- The tensors of a safetensors file by name, each as "type shape bytes": what must be the same byte for byte.
function helpers.bytes(path)
  local text = assert(read(path), path)
  local length = ("<I8"):unpack(text)
  local header = core.parse_json(text:sub(9, 8 + length))
  local all = {}
  for name, tensor in pairs(header) do
    if name ~= "__metadata__" then
      local from, to = tensor.data_offsets[1], tensor.data_offsets[2]
      all[name] = tensor.dtype .. " " .. table.concat(tensor.shape, ",") .. " " .. text:sub(9 + length + from, 8 + length + to)
    end
  end
  return all
end

-- A zip archive (stored, not deflated) of {name, bytes} pairs, as PyTorch writes its .pth files.
function helpers.zip(files)
  local function crc(text)
    local sum = 0xffffffff
    for i = 1, #text do
      sum = sum ~ text:byte(i)
      for _ = 1, 8 do
        sum = sum & 1 == 1 and sum >> 1 ~ 0xedb88320 or sum >> 1
      end
    end
    return sum ~ 0xffffffff
  end
  local body, directory, offset = {}, {}, 0
  for _, file in ipairs(files) do
    local name, bytes = file[1], file[2]
    local common = ("<I2I2I2I2I4I4I4I2I2"):pack(0, 0, 0, 0x21, crc(bytes), #bytes, #bytes, #name, 0)
    body[#body + 1] = "PK\3\4" .. ("<I2"):pack(20) .. common .. name .. bytes
    directory[#directory + 1] = "PK\1\2" .. ("<I2I2"):pack(20, 20) .. common .. ("<I2I2I2I4I4"):pack(0, 0, 0, 0, offset) .. name
    offset = offset + #body[#body]
  end
  local list = table.concat(directory)
  return table.concat(body) .. list
    .. "PK\5\6" .. ("<I2I2I2I2I4I4I2"):pack(0, 0, #files, #files, #list, offset, 0)
end

-- The rows of a CSV file without quotes: a list of tables by column, and the columns.
function helpers.csv(path)
  local rows, columns = {}, nil
  for line in io.lines(path) do
    local cells = {}
    for cell in (line .. ","):gmatch "([^,]*)," do
      cells[#cells + 1] = cell
    end
    if not columns then
      columns = cells
    else
      local row = {}
      for i, name in ipairs(columns) do
        row[name] = tonumber(cells[i]) or cells[i]
      end
      rows[#rows + 1] = row
    end
  end
  return rows, columns
end

return helpers
