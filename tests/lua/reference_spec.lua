-- The reference: every name that Lua can reach has an entry, every entry names something, and its examples run.

local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"
local reference = require "graft.reference"

-- Fails with the list, unless it is empty.
local function none(problems)
  if #problems > 0 then
    local more = #problems > 40 and ("\n... %d more"):format(#problems - 40) or ""
    error(table.concat(problems, "\n", 1, math.min(#problems, 40)) .. more, 0)
  end
end

-- --- the folder in which examples run ---

local function network_file(name)
  local function unit(x, layer, out, stride)
    local y = x:conv2d(layer .. ".conv1", { out = out, kernel = 3, stride = stride, padding = 1, bias = false })
      :batch_norm(layer .. ".bn1"):relu()
    return y:conv2d(layer .. ".conv2", { out = out, kernel = 3, padding = 1, bias = false }):batch_norm(layer .. ".bn2"):relu()
  end
  core.seed(7)
  graft.nn.network { name = "resnet18", input = { 3, 16, 16 }, classes = { "one", "two", "three", "four", "five" }, head = "fc",
    stages = { "conv1", "layer1", "layer2", "layer3", "layer4" },
    build = function(x)
      x = x:conv2d("conv1", { out = 8, kernel = 3, padding = 1, bias = false }):batch_norm("bn1"):relu()
      for stage = 1, 4 do
        x = unit(x, ("layer%d.0"):format(stage), 8 + 4 * stage, stage > 1 and 2 or 1)
      end
      return x:global_avg_pool():linear("fc", { out = 5 })
    end }:save(helpers.path(name))
end

local function idx(magic, ...)
  local sizes = { ... }
  return "\0\0\8" .. string.char(magic) .. (">" .. ("I4"):rep(#sizes)):pack(table.unpack(sizes))
end

local function prepare()
  helpers.photos("photos", { "ants", "bees" }, 8)
  for _, class in ipairs { "ants", "bees" } do -- the examples name photos by number
    for i = 2, 8, 2 do
      local name = ("%s/photos/%s/%d"):format(helpers.root, class, i)
      graft.image.save(helpers.photo(class, i), name .. ".jpg")
      os.remove(name .. ".png")
    end
  end
  core.make_folder(helpers.path "new")
  graft.image.save(helpers.photo("ants", 99), helpers.path "new/a.jpg")
  local rows = { "file,tags" }
  for i = 1, 8 do
    rows[#rows + 1] = ("photos/ants/%d.jpg,%s"):format(i, i % 2 == 0 and "red|matt" or "matt")
  end
  helpers.write(helpers.path "tags.csv", table.concat(rows, "\n") .. "\n")
  core.make_folder(helpers.path "digits")
  for _, part in ipairs { "train", "t10k" } do
    local labels, pixels = {}, {}
    for i = 1, 8 do
      labels[i], pixels[i] = string.char(i % 2), string.char(40 * (i % 2) + i):rep(16)
    end
    helpers.write(helpers.path(("digits/%s-images-idx3-ubyte"):format(part)), idx(3, 8, 4, 4) .. table.concat(pixels))
    helpers.write(helpers.path(("digits/%s-labels-idx1-ubyte"):format(part)), idx(1, 8) .. table.concat(labels))
  end
  network_file "resnet18.safetensors"
end
prepare()

-- Examples and what they asked for.
local build = os.getenv "GRAFT_BUILD" or "build"
build = build:find "^/" and build or helpers.shell "pwd" .. "/" .. build
local report
do
  local command = ("cd '%s' && '%s' '%s/lua/reference_examples.lua' '%s' >stdout 2>stderr"):format(helpers.root,
    os.getenv "LUA" or "lua5.4", helpers.tests, build)
  local ok = os.execute(command)
  report = ok and core.parse_json(helpers.read(helpers.path "report.json"))
    or { problems = { helpers.read(helpers.path "stderr") }, options = {} }
end

describe("the examples", function()
  it("run, print what they say, and raise what is said", function()
    none(report.problems)
  end)
end)

-- --- what Lua can reach ---

local function keys(t)
  local list = {}
  for key in pairs(t) do
    if type(key) == "string" then
      list[#list + 1] = key
    end
  end
  table.sort(list)
  return list
end

-- The tables behind an __index function: its upvalues whose name ends in methods or fields; of C functions all tables.
local function behind(index)
  local names = {}
  for i = 1, 20 do
    local name, value = debug.getupvalue(index, i)
    if not name then
      break
    elseif type(value) == "table" and (name == "" or name:find "methods$" or name:find "fields$") then
      for _, key in ipairs(keys(value)) do
        names[#names + 1] = { key, name:find "fields$" and "." or ":" }
      end
    end
  end
  return names
end

local function upvalue(f, wanted)
  for i = 1, 20 do
    local name, value = debug.getupvalue(f, i)
    if name == wanted then
      return value
    end
  end
end

-- Every name that there is, as the reference writes it: a set.
local function reachable()
  local found = {}
  local function members(prefix, value)
    for _, member in ipairs(behind(getmetatable(value).__index)) do
      found[prefix .. member[2] .. member[1]] = true
    end
  end
  local function fields(prefix, ...)
    for _, t in ipairs { ... } do
      for i, key in ipairs(#t > 0 and t or keys(t)) do
        found[prefix .. "." .. key] = i
      end
    end
  end
  for _, key in ipairs(keys(graft)) do
    found["graft." .. key] = true
    if type(graft[key]) == "table" then
      for _, inner in ipairs(keys(graft[key])) do
        found["graft." .. key .. "." .. inner] = true
      end
    end
  end
  local d = graft.data.folder(helpers.path "photos", { val = 0.25 })
  local several = graft.data.csv(helpers.path "tags.csv", { image = "file", labels = "tags", val = 0.25 })
  local net = graft.load(helpers.path "resnet18.safetensors"):replace_head(d):freeze("body")
  local run = graft.fit(net, d, { epochs = 1, out = helpers.path "reachable" })
  local run_of = require("graft.run").new
  members("net", net)
  members("data", d)
  members("set", d.train)
  members("tr", graft.trainer(net))
  members("map", graft.map(net, d.train))
  for _, _, b in d.train:batches { net = net } do
    members("b", b)
  end
  fields("run", run, upvalue(run_of, "optional"))
  fields("found", graft.lr_find(net:clone():unfreeze "*", d, { start = 1e-3 }))
  fields("result", graft.evaluate(net, d.val, { photos = true }),
    graft.fit(net:clone():replace_head(several), several, { epochs = 1 }).evaluation)
  graft.nn.network { input = { 3, 8, 8 }, classes = d, build = function(x)
    members("node", x)
    fields("node", { "name", "shape" })
    return x:global_avg_pool():linear("fc", { out = 2 })
  end }
  local function all(prefix, t, ...)
    for key, value in pairs(t) do
      found[prefix .. (type(value) == "function" and ":" or ".") .. key] = true
    end
    fields(prefix, { ... })
  end
  local probe = graft.probe(net, d, { folds = 2 })
  all("p", probe, "pretraining")
  all("a", graft.advise(probe), "from")
  all("s", graft.study { vary = { { "name", { "a", "b" } } }, seeds = { 1 }, trial = function()
    return graft.fit(net, d, { epochs = 1 })
  end })
  local x, methods = graft.zeros(1), {}
  for _, member in ipairs(behind(debug.getmetatable(x).__index)) do
    methods[#methods + 1] = member[1]
  end
  for _, name in ipairs(methods) do
    found["x:" .. name] = true
  end
  fields("x", { "shape", "rank", "dtype" })
  fields("layer", { "kind" })
  local _, failure = pcall(graft.load, "no/such/file")
  fields("err", failure, { "near", "where" })
  for _, command in ipairs(require("graft.cli").commands) do
    found["graft " .. command[1]] = true
  end
  return found, run, d, net
end

local found, run, d, net = reachable()

describe("the reference", function()
  it("has an entry for every name", function()
    local missing = {}
    for _, name in ipairs(keys(found)) do
      if not reference.entry(name) then
        missing[#missing + 1] = name .. " has no entry in the reference"
      end
    end
    none(missing)
  end)
  it("names nothing that is not there", function()
    local wrong = {}
    for _, entry in ipairs(reference.entries()) do
      local other = entry.operator or entry.elsewhere or entry.arguments_text
      if not other and not found[entry.name] then
        wrong[#wrong + 1] = entry.name .. " has an entry and cannot be reached"
      end
    end
    none(wrong)
  end)
  it("shows how each function and field is used", function()
    local bare = {}
    for _, entry in ipairs(reference.entries()) do
      local raises = entry.errors and entry.errors[1][2] == "always"
      local model = entry.name:find "^graft%.models%."
      if not (entry.example or entry.shell or entry.elsewhere or raises or model or entry.type == "table") then
        bare[#bare + 1] = entry.name .. " has no example"
      end
    end
    none(bare)
  end)
  it("finds what it refers to", function()
    local wrong, known = {}, {}
    for _, name in ipairs(require("graft.commands.help").names()) do
      known[name] = true
    end
    for _, entry in ipairs(reference.entries()) do
      for _, name in ipairs(entry.see or {}) do
        if not known[name] then
          wrong[#wrong + 1] = ("%s refers to %s, which has no entry"):format(entry.name, name)
        end
      end
    end
    none(wrong)
  end)
end)

-- --- options ---

-- The words of strict.check that a type of the reference stands for, as a set.
local function words_of(kind)
  local set = {}
  for _, one in ipairs(reference.alternatives(kind)) do
    one = one:gsub("%?$", "")
    if one:find '^"' then
      set.string = true
    elseif one:find "^fun%(" or one == "graft.loss_function" then
      set["function"] = true
    elseif one == "graft.tensor" then
      set.userdata = true
    elseif one:find "^graft%." or one:find "%[%]$" or one:find "^table" or one:find "^{" then
      set.table = true
    else
      set[one] = true
    end
  end
  return set
end

-- The list of options in the reference that a function's name in its errors stands for.
local function documented(who)
  local name, inner = who:match "^(.-): (.*)$"
  local entry = reference.entry(name or who)
  if name == "graft.options" then
    return entry.options
  elseif inner then
    for _, option in ipairs(entry and entry.options or {}) do
      if option[1] == inner then
        return option[5]
      end
    end
    return nil
  end
  return entry and (entry.options or {})
end

describe("options", function()
  it("are those that the functions take, with their types", function()
    local wrong = {}
    for _, who in ipairs(keys(report.options)) do
      local asked, list = report.options[who], documented(who)
      local seen = {}
      for _, option in ipairs(list or {}) do
        local name, accepted = option[1], {}
        seen[name] = true
        for _, word in ipairs(asked[name] or {}) do
          accepted[word] = true
        end
        for word in pairs(words_of(option[2])) do
          if not (accepted[word] or accepted.any or (word == "integer" and accepted.number)) then
            wrong[#wrong + 1] = ("%s: %s takes %s, and the reference says %s"):format(who, name,
              table.concat(asked[name] or { "nothing" }, " or "), option[2])
          end
        end
      end
      for _, name in ipairs(keys(asked)) do
        if not seen[name] then
          wrong[#wrong + 1] = ("%s: option %s is not in the reference"):format(who, name)
        end
      end
    end
    none(wrong)
  end)
  it("were all asked for while the examples ran", function()
    local wrong = {}
    for _, entry in ipairs(reference.entries()) do
      local layer = entry.name:find "^node:" or entry.name:find "^graft%.models%."
      if entry.options and not layer and not report.options[entry.name] and entry.name ~= "graft.options" then
        wrong[#wrong + 1] = entry.name .. ": no example shows its options to be true"
      end
    end
    none(wrong)
  end)
end)

-- --- fields ---

-- What the value has and the list lacks, and the other way round. Fields whose type ends in ? may be absent.
local function compare(wrong, name, list, value)
  local listed = {}
  for _, field in ipairs(list) do
    listed[field[1]] = true
    if rawget(value, field[1]) == nil and not field[2]:find "%?$" then
      wrong[#wrong + 1] = ("%s has no field %s"):format(name, field[1])
    end
  end
  for _, key in ipairs(keys(value)) do
    if not listed[key] and not key:find ":" then
      wrong[#wrong + 1] = ("%s.%s is not in the reference"):format(name, key)
    end
  end
end

describe("fields", function()
  it("are those that the values have", function()
    local result, wrong = graft.evaluate(net, d.val), {}
    local _, layer = net:layers()()
    local _, info = graft.embed(net, d.val)
  local photo = d.val[1].file
    for name, value in pairs {
      ["run.epochs"] = run.epochs[1], ["run.best"] = run.best, ["run.last"] = run.last, ["run.cache"] = run.cache,
      ["result.classes"] = result.classes[1], ["result.heads"] = result.heads[1], ["net:layers"] = layer, ["graft.embed"] = info,
      ["net:grad_cam"] = select(2, net:grad_cam(photo)), ["net:occlusion"] = select(2, net:occlusion(photo, { patch = 8 })),
      ["graft.exciting"] = graft.exciting(net, d.val, { unit = 1 })[1],
      ["graft.neighbours"] = graft.neighbours(net, d.val, photo)[1], ["net.preprocessing"] = net.preprocessing,
         ["net:predict"] = net:predict(d.val[1].file)[1], ["set[i]"] = d.val[1],
    } do
      compare(wrong, name, reference.entry(name).fields, value)
    end
    none(wrong)
  end)
end)

-- --- limits ---

describe("the limits that the page on security names", function()
  it("are those of the code", function()
    local function source(path)
      return helpers.read(helpers.tests .. "/../" .. path)
    end
    local image = source "runtime/data/image.h"
    for name, value in pairs { FILE = "32 << 20", SIDE = "16384", PIXELS = "32000000", DECODE = "256 << 20" } do
      assert.contains(("GR_IMAGE_MAX_%s = %s,"):format(name, value), image)
    end
    assert.matches("GR_MAX_RANK = 8%f[^%d]", source "runtime/tensor/tensor.h")
    assert.contains("MAX_SIZE = 16 * 1024 * 1024", source "scripts/graft/recipe.lua")
    local page = require("graft.commands.help").text("security"):gsub("%s+", " ")
    for _, words in ipairs { "32 MiB", "16,384 pixels", "32 megapixels", "256 MiB", "16 MiB for a recipe", "8 dimensions" } do
      assert.contains(words, page)
    end
  end)
end)

-- --- what is made of it ---

-- Widest line in characters.
local function widest(text)
  local most = 0
  for line in text:gmatch "[^\n]+" do
    most = math.max(most, utf8.len(line))
  end
  return most
end

describe("help", function()
  local help = require "graft.commands.help"
  it("fits the terminal", function()
    local text = require("graft.reference_text").entry
    for _, width in ipairs { 80, 100 } do
      for _, name in ipairs { "graft.fit", "net:unfreeze", "graft.data.csv", "run.cache" } do
        local entry = reference.entry(name)
        local prose = text({ name = name, text = entry.text, arguments = entry.arguments, options = entry.options,
          fields = entry.fields, errors = entry.errors }, width)
        assert.is_true(widest(prose) <= width, ("%s at %d: %d"):format(name, width, widest(prose)))
      end
    end
  end)
  it("fits the terminal with its lists, and tells a title once", function()
    local cli = require "graft.cli"
    for _, width in ipairs { 80, 100 } do
      for _, text in ipairs { cli.usage(width), cli.command_help("run", width), cli.command_help("inspect", width) } do
        assert.is_true(widest(text) <= width, ("%d at %d: %s"):format(widest(text), width, text:sub(1, 40)))
      end
      for _, page in ipairs(reference.pages()) do
        local text = type(page.text) == "function" and page.text(width)
        assert.is_true(not text or widest(require("graft.reference_text").prose(text, width, "")) <= width, page.name)
      end
    end
    assert.is_nil(help.text("recipes"):find("Recipes that come with Graft.*Recipes that come with Graft"))
    assert.contains("lite1, lite2", help.text "weights")
  end)
  it("lists topics, and all that is in one", function()
    for _, name in ipairs { "start", "weights", "cache", "recipes", "models", "layers", "security", "networks", "tensors" } do
      assert.contains(" " .. name, help.text():gsub("\n", " "))
      assert.truthy(#help.text(name) > 200, name)
    end
    assert.contains("net:freeze", help.text "networks")
    assert.contains("--trust", help.text "security")
  end)
  it("finds names by their last word, and the nearest of others", function()
    assert.contains("graft.image.load(path)", help.text "load")
    assert.contains("graft.load(path", help.text "load")
    assert.contains("is a part of several names", help.text "classes")
    assert.contains("silently false", help.text("x == 0"):lower())
    assert.contains("places first", help.text "topk")
    assert.error_matches(function() help.text "frieze" end, "nearest: freeze")
    assert.error_matches(function() help.text "qqqqqqqq" end, "topics: ")
  end)
  it("takes values of Graft for their names", function()
    assert.contains("graft.fit(net, data", help.text(graft.fit))
    assert.contains("net:freeze(name", help.text(net.freeze))
    assert.contains("net:predict", help.text(net))
    assert.contains("x:softmax", help.text(graft.zeros(1)))
    assert.contains("run.best", help.text(run))
    assert.error_matches(function() help.text(print) end, "in quotes")
  end)
  it("answers what people from elsewhere look for, and knows where to go on", function()
    for _, name in ipairs { "zero_grad", "backward", "no_grad", "train", "eval", "requires_grad", "DataLoader", "cuda" } do
      assert.contains("see also", help.text(name))
    end
  end)
end)

describe("the files made of it", function()
  local function made(form)
    return helpers.done({ "help", "--" .. form }).out
  end
  it("hold every entry: the page", function()
    local page, missing = made "markdown", {}
    for _, entry in ipairs(reference.entries()) do
      if not page:find("### `" .. reference.signature(entry) .. "`", 1, true) then
        missing[#missing + 1] = entry.name .. " is not on the page"
      end
    end
    none(missing)
    local _, fences = page:gsub("\n```", "")
    assert.equal(0, fences % 2)
    assert.contains("### Security", page)
  end)
  it("hold every command and option: the manual page", function()
    local page = made "man"
    assert.contains('.TH GRAFT 1 "" "Graft ' .. graft.version, page)
    for _, command in ipairs(require("graft.cli").commands) do
      assert.contains('.SS "graft ' .. command[1], page)
      local declared = require("graft.commands." .. command[1]).options
      for _, name in ipairs(keys(declared or {})) do
        assert.contains("\\-\\-" .. name:gsub("_", "\\-"), page)
      end
    end
    local requests = {}
    for request in ('TH SH SS PP TP IP B BR nf fi in \\"'):gmatch "%S+" do
      requests[request] = true
    end
    for line in page:gmatch "[^\n]+" do
      assert.truthy(not line:find "^['.]" or requests[line:match "^%.(%S+)"], line)
    end
    if os.execute "command -v groff >/dev/null 2>&1" then
      helpers.write(helpers.path "graft.1", page)
      assert.equal("", helpers.shell(("groff -man -ww -z '%s' 2>&1"):format(helpers.path "graft.1")))
    end
  end)
  it("hold every name, and no other: the stub", function()
    local stub = made "luals"
    local chunk, message = load(stub, "=graft.lua", "t", {})
    assert.truthy(chunk, message)
    local library, names, there, wrong = chunk(), {}, {}, {}
    for _, entry in ipairs(reference.entries()) do
      local other = entry.elsewhere or entry.command or entry.arguments_text or entry.operator
      names[entry.name] = not other and entry or nil
    end
    local function walk(prefix, t)
      for key, value in pairs(t) do
        there[prefix .. key] = true
        if type(value) == "table" then
          walk(prefix .. key .. ".", value)
        end
      end
    end
    walk("graft.", library)
    for prefix, name in stub:gmatch "\nfunction ([%w_]+):([%w_]+)%(" do
      there[prefix .. ":" .. name] = true
    end
    local fields = {} -- of the class that is being read; a local ends it
    for line in stub:gmatch "[^\n]+" do
      local prefix = line:match "^local (%w+) = {}"
      if line:find "^%-%-%-@class" then
        fields = {}
      elseif line:find "^%-%-%-@field [%a_]" then
        fields[#fields + 1] = line:match "@field ([%w_]+)"
      elseif prefix then
        for _, name in ipairs(fields) do
          there[prefix .. "." .. name] = true
        end
      end
    end
    for name in pairs(names) do
      if not there[name] then
        wrong[#wrong + 1] = name .. " is not in the stub"
      end
    end
    for name in pairs(there) do
      if not names[name] and not name:find "^layer%." then
        wrong[#wrong + 1] = name .. " of the stub is not in the reference"
      end
    end
    table.sort(wrong)
    none(wrong)
  end)
  it("use only types that they declare: the stub", function()
    local stub, declared, wrong = made "luals", { ["graft.lua"] = true }, {}
    for name in stub:gmatch "%-%-%-@class ([%w_%.]+)" do
      declared[name] = true
    end
    for name in stub:gmatch "%-%-%-@alias ([%w_%.]+)" do
      declared[name] = true
    end
    for kind in stub:gmatch "%-%-%-@%a+ [%w_%.%?]+ ([^ ]+)" do
      for name in kind:gmatch "graft%.[%w_%.]+" do
        if not declared[name] then
          wrong[#wrong + 1] = name .. " is used and not declared"
        end
      end
    end
    none(wrong)
  end)
end)

describe("the command line", function()
  it("does what the reference shows", function()
    local wrong = {}
    for _, entry in ipairs(reference.entries()) do
      if entry.shell then
        local script = ("cd '%s'; graft() { '%s' \"$@\"; }; (set -e; %s\n) 2>&1; echo status $?"):format(helpers.root,
          helpers.program, entry.shell)
        local output = helpers.shell(script)
        if not output:find "status 0$" then
          wrong[#wrong + 1] = ("%s: %s"):format(entry.name, output)
        end
      end
    end
    none(wrong)
  end)
end)
