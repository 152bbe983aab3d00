-- The prompt: lines that stay, printing, errors, completion, the reference; -e and standard input. What needs a terminal is in
-- terminal_spec.lua.
local graft = require "graft"
local core = require "graft.core"
local chunks = require "graft.chunks"
local prompt = require "graft.prompt"
local show = require "graft.show"
local complete = require "graft.complete"
local reference = require "graft.reference"
local help = require "graft.commands.help"

-- A session whose output is collected: feed(line, ...) returns what they printed.
local function session()
  local printed = {}
  local s = prompt.session(function(text) printed[#printed + 1] = text end)
  return s, function(...)
    printed = {}
    local more
    for _, line in ipairs { ... } do
      more = s:line(line)
    end
    return table.concat(printed, "\n"), more
  end
end

describe("top-level locals", function()
  local function kept(text)
    local env = setmetatable({}, { __index = _G })
    assert(load(chunks.keep_locals(text), "=kept", "t", env))()
    return env
  end

  it("stay, with attributes, without values, in lists", function()
    local env = kept "local a <const>, b = 1, 2 local c <close>\nlocal d, e = (function() return 4, 5 end)()"
    assert.same({ 1, 2, 4, 5 }, { env.a, env.b, env.d, env.e })
    assert.is_nil(rawget(env, "c"))
  end)
  it("stay as functions, and those inside of blocks do not", function()
    local env = kept [==[
      local function f(n) local inner = n; if n > 0 then local deep = 1; return f(n - 1) + deep end return inner end
      do local hidden = 1 end
      for i = 1, 2 do local h2 = i end
      repeat local h3 = true until h3
      while true do local h4 = 1 break end
      local r = f(3)
    ]==]
    assert.equal(3, env.r)
    for _, name in ipairs { "inner", "deep", "hidden", "h2", "h3", "h4" } do
      assert.is_nil(rawget(env, name))
    end
  end)
  it("are not found in strings and comments", function()
    local text = 'x = "local a = 1 \\" local b" -- local c = 2\ny = [[\nlocal d]] --[==[ local e\n]] ]==] z = \'local\''
    assert.equal(text, chunks.keep_locals(text))
  end)
  it("keep their lines, so that messages name the right one", function()
    assert.equal("a, b =\n 1, 2\nc = nil \nd = 3", chunks.keep_locals("local a,\nb = 1, 2\nlocal c\nlocal d = 3"))
  end)
  it("may be declared before a call in parentheses", function()
    local env = kept "local a\n(print or error)()"
    assert.is_nil(rawget(env, "a"))
  end)
end)

describe("lines", function()
  it("print results without an equals sign, statements print nothing", function()
    local _, feed = session()
    assert.equal("2", feed "1 + 1")
    assert.equal("2", feed "=1 + 1")
    assert.equal("1\ta\tnil", feed "1, 'a', nil")
    assert.equal("", feed "x = 3")
    assert.equal("nil", feed "undefined")
    assert.equal("", feed "(function() end)()")
    assert.equal("", feed "")
    assert.equal("", feed "-- a comment")
  end)
  it("keep variables, and the last result in _", function()
    local _, feed = session()
    feed("local a, b = 20, 22")
    assert.equal("42", feed "a + b")
    assert.equal("43", feed "_ + 1")
    assert.equal("7", feed("local function f() return 7 end", "f()"))
  end)
  it("go on until a chunk is finished", function()
    local _, feed = session()
    local printed, more = feed "for i = 1, 2 do"
    assert.is_true(more)
    assert.equal("", printed)
    _, more = feed("local y = i * i", "z = y", "end")
    assert.is_false(more)
    assert.equal("4", feed "z")
    _, more = feed "s = [["
    assert.is_true(more)
    assert.equal("two\nlines", (feed("two", "lines]]", "s"):gsub("^\n", "")))
  end)
  it("that fail leave everything as it was", function()
    local _, feed = session()
    feed "net = 'old'"
    assert.matches("^error: attempt to call a nil value", feed "net = nil_function():freeze('body')")
    assert.equal("old", feed "net")
    assert.matches("^error: .*unexpected symbol", feed "x = = 1")
    assert.equal("error: odd", feed "error('odd', 0)")
    assert.matches("^error: table: ", feed "error({})")
  end)
  it("name the nearest global", function()
    local _, feed = session()
    assert.matches('nearest: "graft"$', feed "gaft.load('x')")
  end)
  it("show Graft's errors without the line", function()
    local _, feed = session()
    assert.matches("^error: tensor: indices start at 1", feed("x = graft.zeros(3)", "x[0]"))
  end)
  it("cannot harm Graft by a local of a library's name", function()
    local _, feed = session()
    feed("local type, string, table = 1, 2, 3")
    assert.matches("^tensor %[2%]", feed "graft.zeros(2)")
  end)
  it("are read by help", function()
    local _, feed = session()
    assert.contains("First steps", feed 'help "start"')
    assert.contains("net:freeze(", feed 'help "freeze"')
    assert.contains("graft inspect photos/", feed "help")
    assert.contains('help "freeze"', feed "help")
    assert.contains('nearest: freeze', feed 'help "freze"')
  end)
end)

describe("text of several lines", function()
  it("is run as if it were typed", function()
    local _, feed = session()
    assert.equal("2\n3", feed "local a = 1\na + 1\n-- a comment\n\na + 2")
    assert.equal("3", feed "local i = 0\n::again::\ni = i + 1\nif i < 3 then goto again end\nreturn i") -- cannot be cut
    assert.equal("3", feed "local a = 1\nlocal b = a + 1\nprint_nothing = nil\nreturn a + b")
    assert.equal("6", feed "local t = { 1,\n  2,\n  3 }\nlocal s = 0\nfor _, v in ipairs(t) do\n\ts = s + v\nend\nreturn s")
  end)
  it("is read line by line where expressions stand between statements", function()
    local _, feed = session()
    assert.equal("1\n5", feed "x = 1\nx\nfunction f()\n  return 5\nend\nf()")
    assert.equal("ab\nab!", feed "s = 'a'\n  .. 'b'\ns\ns\n  .. '!'")
  end)
  it("may be unfinished at its end", function()
    local s, feed = session()
    local printed, more = feed "y = 2\ny\nfor i = 1, 2 do"
    assert.same({ "2", true }, { printed, more })
    assert.equal("for i = 1, 2 do", (s.pending:gsub("^%s+", "")))
    assert.equal("4", feed("y = y + 1", "end", "y"))
  end)
  it("stops at its first error, which names the line", function()
    local _, feed = session()
    assert.equal("1\nerror: line 3: no", feed "z = 1\nz\nerror('no')\nz = 2\nz")
    assert.equal("1", feed "z")
    assert.matches("^error: line 2: attempt to index a nil value", feed "local a\na.b = 1")
    assert.matches("^error: line 2: unexpected symbol near '='", feed "a = 1\na = = 2")
    assert.matches("^error: line 2: tensor: indices start at 1", feed "local x = graft.zeros(2)\nreturn x[0]")
  end)
  it("begins with an expression that goes on", function()
    local _, feed = session()
    local _, more = feed "1 +"
    assert.is_true(more)
    assert.equal("3", feed "2")
    assert.equal("{ a = 1 }", feed("{", "a = 1", "}"))
  end)
  it("names the file where an error is in one", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write "local a = 1\n\nerror 'here'\n"
    file:close()
    local _, feed = session()
    local printed = feed(("dofile(%q)"):format(path))
    os.remove(path)
    assert.contains(path:match "[^/]+$" .. ":3: here", printed)
  end)
end)

describe("a failing line", function()
  it("never ends the session, whatever it throws", function()
    local _, feed = session()
    for _, line in ipairs { "error()", "error(nil)", "error({})", "error(setmetatable({}, { __tostring = error }))",
      "setmetatable({}, { __tostring = function() error 'no text' end })", "error({ exit = 3 })", "string.rep()",
      "local function f() return 1 + f() end f()", "x = = 1", "]", "'", "\1", "graft.fit()", "graft.load('none')", "help(3)",
      'help "no such thing"', "coroutine.wrap(function() error 'inside' end)()" } do
      assert.matches("^error: ", (feed(line)), line)
    end
    assert.equal("2", feed "1 + 1")
  end)
  it("leaves nothing behind: a thousand of them take less than 5 MB", function()
    local _, feed = session()
    local lines = { "nothing.at.all", "error({})", "graft.load('no-such-file.pth')", "x = = 1", "graft.zeros(3)[0]",
      "graft.zeros(1000, 100):matmul(graft.zeros(7))", 'help "no such thing"', "error(('long'):rep(1000))" }
    local function resident()
      collectgarbage()
      local file = assert(io.open "/proc/self/status")
      local text = file:read "a"
      file:close()
      return tonumber(text:match "VmRSS:%s*(%d+)")
    end
    for i = 1, 200 do feed(lines[i % #lines + 1]) end
    local before, heap = resident(), collectgarbage "count"
    for i = 1, 1000 do
      assert.matches("^error: ", (feed(lines[i % #lines + 1])))
    end
    local after = resident()
    assert.is_true(collectgarbage "count" - heap < 1024, "Lua's memory grew")
    if not os.getenv "SANITIZED" then -- a sanitizer keeps what is freed for a while
      assert.is_true(after - before < 5 * 1024, ("%d KiB more"):format(after - before))
    end
    assert.equal("42", feed "6 * 7")
  end)
end)

describe("printing", function()
  local function text(value, width) return show.value(value, width or 100) end
  local function fits(printed, width)
    for line in printed:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= width, line)
    end
    return printed
  end

  it("sorts keys and stops at a depth", function()
    assert.equal('{ 1, "two", a = { b = { c = { d = 1 } } }, z = true }',
      text { 1, "two", z = true, a = { b = { c = { d = 1 } } } })
    local deep = {}
    local inner = deep
    for _ = 1, 50 do
      inner.next = { long = ("x"):rep(30) }
      inner = inner.next
    end
    local printed = fits(text(deep), 100)
    assert.contains("{ 2 entries }", printed)
    assert.equal('{ ["two words"] = 1 }', text { ["two words"] = 1 })
    assert.equal("{}", text {})
  end)
  it("ends for tables that hold themselves", function()
    local t = { name = "t" }
    t.list, t.self = { t, { t } }, t
    assert.equal('{ list = { {...}, { {...} } }, name = "t", self = {...} }', text(t))
  end)
  it("indents what is nested", function()
    local long = ("y"):rep(40)
    assert.equal(('{\n  a = {\n    b = "%s",\n    c = "%s"\n  },\n  d = 1\n}'):format(long, long),
      text({ a = { b = long, c = long }, d = 1 }, 60))
  end)
  it("cuts large tables, whatever is large", function()
    local list, keys, nested = {}, {}, {}
    for i = 1, 1000 do
      list[i], keys["key" .. i], nested[i] = i, i, { a = { 1, 2, 3 }, b = ("z"):rep(90), [true] = i }
    end
    for _, value in ipairs { list, keys, nested } do
      local printed = fits(text(value), 100)
      local _, lines = printed:gsub("\n", "\n")
      assert.is_true(lines < 80, lines)
      assert.matches("%.%.%. %d+ more", printed)
    end
    assert.contains("... 900 more", text(list))
    assert.contains("... 960 more", text(keys))
  end)
  it("sets numbers in columns", function()
    assert.equal("nan", text(0 / 0))
    assert.equal("{ nan, 0.3333333, 1e-09, 3 }", text { 0 / 0, 1 / 3, 1e-9, 3 })
    assert.equal("{\n    1,  10,\n  100,   2\n}", text({ 1, 10, 100, 2 }, 12))
    assert.equal("  1.0000   2.5000\n  3.0000  -4.0000", text { { 1, 2.5 }, { 3, -4 } })
  end)
  it("sets records as a table", function()
    assert.equal("  epoch  kept    loss\n      1  best  0.5000\n      2        0.2500", text {
      { epoch = 1, loss = 0.5, kept = "best" }, { epoch = 2, loss = 0.25 } })
    local wide = {}
    for i = 1, 2 do
      wide[i] = { class = "c" .. i }
      for k = 1, 30 do wide[i]["column" .. k] = k end
    end
    assert.contains("also: column", fits(text(wide, 80), 80))
    local many = {}
    for i = 1, 500 do many[i] = { file = "f" .. i, reason = "none" } end
    assert.contains("... 480 more", text(many))
  end)
  it("breaks what is too wide", function()
    assert.equal('{\n  "' .. ("a"):rep(60) .. '",\n  "' .. ("b"):rep(60) .. '"\n}', text { ("a"):rep(60), ("b"):rep(60) })
    assert.equal("one two\n  three", show.fold("one two three", 8))
    assert.equal("label    a long\n         line", show.fold("label    a long line", 18))
    assert.equal(("w"):rep(50), show.fold(("w"):rep(50), 20))
  end)
  it("leaves out columns of a table that can be spared", function()
    local rows = { { "layer", "kernel", "state" }, { "conv1", "winograd", "frozen" } }
    assert.equal("layer  kernel     state\nconv1  winograd  frozen", show.columns(rows, "llr", "", nil, { 2 }))
    assert.equal("layer   state\nconv1  frozen", show.columns(rows, "llr", "", 20, { 2, 1 }))
    assert.equal("layer  kernel     state\nconv1  winograd  frozen", show.columns(rows, "llr", "", 23, { 2, 1 }))
  end)
  it("says what a batch and a trainer are", function()
    local helpers = require "helpers"
    local d = graft.data.folder(helpers.photos("shown", { "mugs", "bowls" }, 6), { val = 0.5 })
    local net = graft.load(helpers.weights()):replace_head(d)
    local shown
    for x, y, b in d.train:batches { net = net, batch_size = 6, epoch = 2 } do
      local tr = graft.trainer(net, { optimizer = graft.sgd { lr = 0.1 } })
      tr:step(x, y)
      shown = { text(b), text(tr) }
    end
    assert.same({ "batch of 6 photos, epoch 2", "trainer of mini: 1 step made, lr 0.1" }, shown)
    assert.equal("6 photos", text(d.val))
  end)
  it("cuts long strings and says so", function()
    assert.contains("the first of 1,000,000 bytes", text(("x"):rep(1000000)))
    assert.contains('..." (5,000 bytes)', text { ("x"):rep(5000) })
    assert.equal("two\nlines", text "two\nlines")
  end)
  it("makes control characters visible", function()
    for _, value in ipairs { "a\27[2J\0", { "a\27[2J\0" }, { ["\27k"] = "\27" }, { { class = "\27[1m", p = 1 } },
      { { file = "\27[1m" }, { file = "b" } }, setmetatable({}, { __tostring = function() return "\27[2J" end }) } do
      assert.is_nil(text(value):find("[\27%z]"))
    end
  end)
  it("reads predictions as people do", function()
    assert.equal("  mugs 0.97   bowls 0.02", text { { class = "mugs", p = 0.97 }, { class = "bowls", p = 0.02 } })
    assert.equal("  a 1.00\n  b 0.50", text { { { class = "a", p = 1 } }, { { class = "b", p = 0.5 } } })
    assert.equal("  a 1.00      b 0.00\n  mugs 0.50   a 0.50", text { { { class = "a", p = 1 }, { class = "b", p = 0 } },
      { { class = "mugs", p = 0.5 }, { class = "a", p = 0.5 } } })
  end)
  it("names what holds functions, and functions", function()
    assert.matches('^graft%.data%.NAME; help "graft%.data%.csv" explains one of them\n  csv  folder  idx  list$',
      text(graft.data))
    assert.contains("resnet18", fits(text(graft.models, 60), 60))
    assert.contains("augment.NAME", text(graft))
    assert.equal("function graft.fit", text(graft.fit))
    assert.equal("function print", text(print))
    assert.matches("^function %(.*prompt_spec%.lua:%d+%)$", text(function() end))
  end)
  it("shows the session's own variables alone", function()
    local s, feed = session()
    feed "mine = 1"
    assert.equal("{ mine = 1 }", feed "_G")
    feed "print = 2"
    assert.contains("print = 2", feed "_G")
    assert.is_not_nil(s.env.graft)
  end)
  it("keeps networks, data and tensors in the width", function()
    local small = graft.models.squeezenet1_1 { classes = { "a", "b" } }
    fits(text(small, 60), 60)
    assert.contains("squeezenet1_1", text { small })
    small:close()
    assert.contains("tensor [3,4]", text(graft.zeros(3, 4)))
    assert.equal("{ x = tensor [3,4] ... }", text { x = graft.zeros(3, 4) })
  end)
end)

describe("completion", function()
  local env = { graft = graft, alpha = 1, alphabet = 2, text = "x", tensor = graft.zeros(2) }
  local function tab(line) return complete.line(line, env, 80) end

  it("knows globals, keywords and fields", function()
    assert.equal("ft", (tab "x = gra"))
    assert.equal("eak", (tab "br"))
    local insert, list = tab "alpha"
    assert.equal("", insert)
    assert.contains("alphabet", list)
    assert.equal("t", (tab "graft.augm"):sub(-1))
    insert, list = tab "graft.fi"
    assert.equal("", insert)
    assert.contains("fine_tune", list)
    assert.equal("oss_entropy", (tab "graft.nn.cr"))
    assert.equal("ersion", (tab "graft.v"))
  end)
  it("knows methods of values", function()
    assert.equal("ftmax", (tab "tensor:so"))
    assert.equal("ape", (tab "tensor.sh"))
    assert.equal("ub", (tab "text:gs"))
  end)
  it("knows the layers of a network", function()
    local small = graft.models.squeezenet1_1 { classes = { "a", "b" } }
    env.net = small
    assert.equal("eeze", (tab "net:fr"))
    assert.equal('dy"', (tab 'net:freeze("bo'))
    assert.equal("ad'", (tab "net:unfreeze{'body', 'he"))
    assert.equal('ad"', (tab 'net:lr_scale{ {"*", 0.1}, {"he'))
    small:close()
  end)
  it("knows files and topics", function()
    assert.equal('n.lua"', (tab 'dofile("tests/lua/ru'))
    assert.equal('ts"', (tab 'help "weigh'))
  end)
  it("knows what chains and fields give", function()
    local small = graft.models.squeezenet1_1 { classes = { "mugs", "bowls" } }
    env.net, env.run = small, { epochs = { { train_loss = 1 } }, best = { val_accuracy = 1 } }
    assert.equal("eeze", (tab 'graft.load("x.pth"):replace_head(d):fr'))
    assert.equal("eeze", (tab 'net:freeze("body"):fr'))
    assert.equal("dy", (tab 'net:freeze("bo'):sub(1, 2))
    assert.equal('dy"', (tab 'net:clone():freeze("he"):unfreeze("bo'))
    assert.equal("eze", (tab "graft.models.resnet18{ classes = d }:fre"))
    assert.equal("ftmax", (tab "net:forward(x):so"))
    assert.equal("loss", (tab "run.epochs[1].train_"))
    assert.equal("ccuracy", (tab "print(run.best.val_a"))
    assert.equal("ub", (tab "('x'):gs"))
    assert.equal("ain", (tab "require 'graft'.tr"):sub(1, 3))
    small:close()
  end)
  it("knows the options of functions, and does not offer one twice", function()
    env.net, env.d = nil, nil
    assert.equal("ochs = ", (tab "graft.fit(net, d, { ep"))
    assert.equal("imizer = ", (tab "graft.fit(net, d, { epochs = 3, opt"))
    assert.equal("", (tab "graft.fit(net, d, { epochs = 3, epo"))
    assert.equal("tch_size = ", (tab "graft.fit(net, d, {\n  epochs = 20,\n  ba"))
    local _, list = tab "graft.fit(net, d, { "
    assert.contains("patience", list)
    assert.equal("mentum = ", (tab "graft.fit(net, d, { optimizer = graft.sgd{ lr = 0.1, mo"))
    assert.equal("l = ", (tab 'graft.data.folder("photos", { va'))
    assert.equal("asses = ", (tab "graft.models.resnet18{ cl"))
    assert.equal("dding = ", (tab 'x:conv2d("c1", { out = 3, pa'))
    assert.equal("grees = ", (tab "graft.fit(net, d, { augment = { graft.augment.rotation{ de"))
    assert.equal("ha", (tab "f{ alp"))
    assert.equal("pha", (tab "graft.fit(net, d, { epochs = al"):sub(1, 3))
  end)
  it("knows the words that an option may be", function()
    assert.equal('st"', (tab 'graft.fit(net, d, { keep = "be'))
    assert.equal("tandard'", (tab "graft.fit(net, d, { augment = 's"))
    assert.equal('"', (tab 'graft.fit(net, d, { stash = "bf16'))
  end)
  it("knows layers where an option names one, and classes where they are asked for", function()
    local small = graft.models.squeezenet1_1 { classes = { "mugs", "bowls" } }
    env.net, env.counts = small, { mugs = 1, bowls = 2 }
    assert.equal('eatures.', (tab 'graft.embed(net, set, { at = "f'))
    assert.equal("eatures.", (tab 'net:features(x, { "f'))
    assert.equal("", (tab 'net:freeze("rel')) -- it has no parameters
    assert.equal('gs"', (tab 'graft.data.folder("x", { classes = { "mu'))
    assert.equal('ls"', (tab 'net:replace_head{ "mugs", "bow'))
    assert.equal("wls = ", (tab "graft.nn.cross_entropy{ class_weights = { bo"))
    assert.equal('gs"', (tab 'if t.class == "mu'))
    assert.equal('gs"', (tab 'counts["mu'))
    assert.equal("gs", (tab "counts.mu"))
    local _, list = tab 'net:features(x, "features.'
    assert.contains("features.12", list)
    assert.is_nil(list and list:find("features.12.expand3x3", 1, true))
    small:close()
  end)
  it("knows what files a function reads", function()
    local helpers = require "helpers"
    local folder = helpers.fresh "files"
    require("graft.core").make_folder(folder .. "/deep")
    for _, name in ipairs { "net.pth", "net.safetensors", "netlist.txt", "notes.txt", "photo.JPG" } do
      helpers.write(folder .. "/" .. name, "x")
    end
    local function at(line) return tab((line:gsub("DIR", folder))) end
    local insert, list = at 'graft.load("DIR/net.'
    assert.equal("", insert)
    assert.is_nil(list:find("txt", 1, true))
    assert.equal('xt"', (at 'graft.load("DIR/notes.t'))
    assert.equal('to.JPG"', (at 'graft.image.show("DIR/pho'))
    assert.equal("ep/", (at 'graft.data.folder("DIR/de'))
    insert, list = at 'graft.data.folder("DIR/'
    assert.same({ "deep/", nil }, { insert, list })
  end)
  it("shows several in columns that fit", function()
    local _, list = tab "graft."
    local lines = 0
    for line in list:gmatch "[^\n]+" do
      lines = lines + 1
      assert.is_true(#line <= 80, line)
    end
    assert.is_true(lines > 3 and lines < 20)
    assert.contains("adam  ", list)
  end)
  it("calls nothing, and is quiet about what it cannot know", function()
    assert.equal("", (tab "f().x"))
    assert.equal("", (tab "nothing.here"))
    assert.equal("", (tab 'x = "no-such-file'))
    assert.equal("", (tab "x = 1 -- graft.vers"))
    assert.equal("", (tab "s = [[ graft.vers"))
    assert.equal("", (tab "x = 3."))
    for _, line in ipairs { ")", "]", "}", "a)b.", "((", "{{", 'f("', "f('a\\'", "x[", "x[1", "x[1].", "x:y(", "..", "a..b", "#",
      "f{[", "::x", "'", "\"\\", "[==[", "--", "--[[", "function", "local x <", "x.y.z:", "graft:", "net.", "if x then y." } do
      assert.equal("string", type((tab(line))), line)
    end
    local ran
    env.trap = setmetatable({}, { __index = function() ran = true end, __name = "mine" })
    tab "trap.x"
    tab "trap.x.y"
    assert.is_nil(ran)
    assert.equal("   ", (tab "   "))
  end)
end)

describe("the reference", function()
  local later = { probe = true, advise = true, study = true, image = true, nn = true, data = true }

  it("has an entry for every public name", function()
    for name in pairs(graft) do
      assert.truthy(later[name] or reference.text("graft." .. name), "graft." .. name)
    end
    for _, group in ipairs { "nn", "data", "augment", "image" } do
      for name in pairs(graft[group]) do
        local public = not (group == "nn" and (name == "record" or name == "loss_fields"))
        assert.truthy(not public or reference.text("graft." .. group .. "." .. name), group .. "." .. name)
      end
    end
    local network = require "graft.network"
    for name in pairs(network.methods) do
      assert.truthy(reference.text(name), "net:" .. name)
    end
    for name in pairs(network.fields) do
      assert.truthy(reference.text("net." .. name), "net." .. name)
    end
  end)
  it("names nothing that does not exist", function()
    for _, name in ipairs(reference.names()) do
      local value = name:find("^graft%.") and graft
      for part in name:gsub("^graft%.", ""):gmatch(value and "[^%.]+" or "$^") do
        value = value[part]
        assert.is_not_nil(value, name)
      end
      local method = name:match("^x[:%.]([%w_]+)$")
      if method then
        local x = graft.zeros(2)
        assert.is_not_nil(x[method], name)
      end
    end
    local network = require "graft.network"
    for _, name in ipairs(reference.members("graft.network", ":")) do
      assert.is_not_nil(network.methods[name], name)
    end
    for _, name in ipairs(reference.members("graft.network", ".")) do
      assert.is_not_nil(network.fields[name], name)
    end
  end)
  it("answers people who come from elsewhere, and gives layers", function()
    assert.contains("tr:step", help.text "zero_grad")
    assert.contains("conv2d", help.text "conv2d")
    assert.contains("graft.image.load", help.text "load")
    assert.error_matches(function() help.text(3) end, "in quotes")
  end)
end)

-- --- the program ---

local program = (os.getenv "GRAFT_BUILD" or "build") .. "/graft"

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- A command as the shell becomes it, without a library that was loaded into this process for its tests.
local function clean(command)
  return "exec env -u LD_PRELOAD sh -c " .. quoted(command)
end

-- Runs a command; returns what it printed on both streams and its exit status.
local function run(command)
  local pipe = assert(io.popen(clean(command) .. " 2>&1", "r"))
  local text = pipe:read "a"
  local _, _, status = pipe:close()
  return text, status
end

describe("graft -e", function()
  it("prints what an expression gives and hands on arguments", function()
    local text, status = run(program .. " -e '1 + 1'")
    assert.same({ "2\n", 0 }, { text, status })
    text = run(program .. " -e 'local a, b = ... print(b, a)' one two")
    assert.equal("two\tone\n", text)
    text = run(program .. " -e 'graft.options{ epochs = 3 }.epochs' --epochs 5")
    assert.equal("5\n", text)
  end)
  it("fails with a message and status 1, and 2 without a chunk", function()
    local text, status = run(program .. " -e 'gaft.load()'")
    assert.equal(1, status)
    assert.matches('^graft: %-e:1: attempt to index .* nearest: "graft"\n$', text)
    text, status = run(program .. " -e 'x ='")
    assert.equal(1, status)
    assert.matches("^graft: %-e:1: unexpected symbol", text)
    status = select(2, run(program .. " -e 'graft.zeros(2)[0]'"))
    assert.equal(1, status)
    status = select(2, run(program .. " -e"))
    assert.equal(2, status)
  end)
end)

describe("standard input that is no terminal", function()
  it("is one script", function()
    local text, status = run("printf 'local a = 1\\nfunction f()\\n return a end\\nprint(f())\\n' | " .. program)
    assert.same({ "1\n", 0 }, { text, status })
    text, status = run("printf 'print(1)\\nerror(\"no\", 0)\\nprint(2)\\n' | " .. program)
    assert.same({ "1\ngraft: stdin:2: no\n", 1 }, { text, status })
    status = select(2, run(program .. " </dev/null"))
    assert.equal(0, status)
  end)
  it("may hold lines as they are typed", function()
    local text, status = run("printf 'local a = 20\\na + 1\\nfunction f()\\n  return a end\\nf()\\n' | " .. program)
    assert.same({ "21\n20\n", 0 }, { text, status })
  end)
  it("runs nothing when a part of it does not compile, and names lines in errors", function()
    local text, status = run("printf 'print(1)\\n1 + 1\\nx = = 2\\n' | " .. program)
    assert.equal(1, status)
    assert.matches("^graft: stdin:3: unexpected symbol near '='", text)
    text, status = run("printf '1 + 1\\n\\ngraft.zeros(2)[0]\\n3\\n' | " .. program)
    assert.equal(1, status)
    assert.matches("^2\ngraft: stdin:3: tensor: indices start at 1", text)
    text, status = run("printf '#!/usr/bin/env graft\\nlocal function f() error(\"deep\", 0) end\\nf()\\n' | " .. program)
    assert.same({ "graft: stdin:2: deep\n", 1 }, { text, status })
    text, status = run("printf 'x =' | " .. program)
    assert.equal(1, status)
    assert.matches("^graft: stdin:1: ", text)
    text, status = run("printf '1\\nquit()\\n2\\n' | " .. program)
    assert.same({ "1\n", 0 }, { text, status })
  end)
  it("writes errors to stderr alone", function()
    local text = run("printf 'print(1) error(2)' | { " .. program .. " 2>/dev/null; }")
    assert.equal("1\n", text)
  end)
end)

it("the module has no line reader", function()
  assert.is_nil(rawget(core, "read_line"))
end)
