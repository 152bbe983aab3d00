-- The prompt in a terminal of its own: line editing, history, pasted blocks, completion, Ctrl-C, pictures.
local graft = require "graft"
local helpers = require "helpers"

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The program in a pseudo-terminal that `script` makes: send(text) types, expect(text) waits for it and gives all output up to
-- there. `settings`: environment variables, false for those that must not be there.
local function terminal(settings, columns)
  if os.execute("command -v script >/dev/null 2>&1") ~= true then
    skip "the program script (util-linux) is not here"
  end
  local log = os.tmpname()
  local variables = { TERM = "vt100", GRAFT_HISTORY = "", LANG = "C.UTF-8", LC_ALL = "C.UTF-8" }
  for name, value in pairs(settings or {}) do
    variables[name] = value
  end
  local words, unset = {}, { "-u COLORTERM", "-u NO_COLOR", "-u COLORFGBG" }
  for name, value in pairs(variables) do
    if value then
      words[#words + 1] = name .. "=" .. quoted(value)
    else
      unset[#unset + 1] = "-u " .. name
    end
  end
  -- Ctrl-C reaches the shell too, which has to outlive it to report the status: dash, unlike bash, would die of it.
  local command = ("cd %s; trap : INT; stty rows 40 cols %d; env %s %s %s; echo status $?"):format(
    quoted(helpers.root), columns or 80, table.concat(unset, " "), table.concat(words, " "), quoted(helpers.program))
  local script = ("SHELL=/bin/sh script -qfec %s %s >/dev/null 2>&1"):format(quoted(command), quoted(log))
  -- without a library that was loaded into this process for its tests
  local pipe = assert(io.popen("exec env -u LD_PRELOAD sh -c " .. quoted(script), "w"))
  local seen = 1
  local t = {}
  function t.send(text)
    pipe:write(text)
    pipe:flush()
  end
  function t.expect(words_to_come, seconds)
    local deadline = os.time() + (seconds or 60)
    repeat
      local text = helpers.read(log)
      local first, last = text:find(words_to_come, seen, true)
      if first then
        local part = text:sub(seen, last)
        seen = last + 1
        return part
      end
      os.execute "sleep 0.05"
      if os.time() > deadline then
        pipe:write "\3\4" -- it may leave, and spares us the wait for the end below
        pipe:flush()
        error(("waited for %q in vain; the terminal shows %q"):format(words_to_come, text:sub(seen)), 0)
      end
    until false
  end
  -- Types a line and waits for an answer that holds `answer`, and for the next prompt.
  function t.says(line, answer, seconds)
    t.send(line .. "\r")
    t.expect "\n"
    local text = answer and t.expect(answer, seconds) or ""
    return text .. t.expect "> "
  end
  -- Leaves; the program must have ended well.
  function t.leave()
    t.send "\4"
    t.expect "status 0"
    pipe:close()
    os.remove(log)
  end
  t.close = function()
    pipe:close()
    os.remove(log)
  end
  t.greeting = t.expect "leaves."
  t.expect "> "
  return t
end

describe("a session in a terminal", function()
  it("keeps locals, completes, survives Ctrl-C and errors, ends with Ctrl-D", function()
    local t = terminal()
    t.says("local answer = 6 * 7")
    t.says("answer .. '!'", "42!")
    t.send "for i = 1, 2 do\r"
    t.expect ">> "
    t.says("print('line ' .. i) end", "line 2")
    t.says("graft.vers\t .. '?'", graft.version .. "?")
    t.send "half a line"
    t.expect "half a line"
    t.send "\3"
    t.expect "^C"
    t.expect "> "
    t.send "while true do end\r"
    t.expect "while true do end\r\n"
    t.send "\3"
    t.expect "interrupted"
    t.says("error('not the end', 0)", "error: not the end")
    t.says("answer + 1", "43")
    t.send "\3"
    t.expect "Ctrl-D or quit() leaves."
    t.expect "> "
    t.leave()
  end)
  it("greets in one line where there is room, in two otherwise", function()
    local t = terminal(nil, 120)
    assert.matches('Graft %S+ %(Lua 5%.4, %d+ threads?, %w+%)%.  help "start" shows the first steps, Tab completes, '
      .. 'Ctrl%-D leaves%.', t.greeting)
    t.leave()
    t = terminal(nil, 80)
    assert.matches('%)%.\r\nhelp "start" shows', t.greeting)
    t.leave()
  end)
  it("ends at SIGTERM with status 143, and by quit()", function()
    local t = terminal()
    t.says "pid = io.open('/proc/self/stat'):read('n')"
    t.send "os.execute('kill -TERM ' .. pid) while true do end\r"
    t.expect "status 143"
    t.close()
    t = terminal()
    t.send "quit()\r"
    t.expect "status 0"
    t.close()
  end)
  it("answers after a thousand lines that failed, and has not grown by 5 MB", function()
    local t = terminal()
    local function resident()
      t.says("collectgarbage()", "0")
      return tonumber(t.says("'at ' .. io.open('/proc/self/status'):read('a'):match('VmRSS:%s*(%d+)') .. ' kB'",
        " kB"):match "at (%d+) kB\r")
    end
    local lines = { "nothing.at.all", "error({})", "graft.load('no-such-file.pth')", "x = = 1", "graft.zeros(3)[0]",
      "net:freeze('body')", "help 'no such thing'", "error(('long'):rep(300))" }
    local function fail(count)
      for i = 1, count do
        t.send(lines[i % #lines + 1] .. "\r")
        if i % 10 == 0 then
          t.says("'line ' .. " .. i, "line " .. i)
        end
      end
    end
    fail(200)
    local before = resident()
    fail(1000)
    local grown = resident() - before
    assert.is_true(grown < 5 * 1024 or os.getenv "SANITIZED" ~= nil, ("%d KiB more"):format(grown))
    t.says("6 * 7", "42")
    t.leave()
  end)
  it("is not ended by impatience", function()
    local t = terminal()
    t.send "while true do pcall(function() while true do end end) end\r"
    t.expect "end\r\n"
    t.send "\3\3\3\3"
    t.expect "interrupted"
    t.expect "> "
    t.says("1 + 1", "2")
    t.leave()
  end)
end)

describe("the history", function()
  it("is kept from session to session, several lines as one entry, without what begins with a blank", function()
    local file = helpers.fresh "state" .. "/deep/history"
    local t = terminal { GRAFT_HISTORY = file }
    t.says("one = 1", nil)
    t.says("one = 1", nil)
    t.says(" password = 'secret'", nil)
    t.send "for i = 1, 2 do\r"
    t.expect ">> "
    t.says("print('back\\\\slash' .. i) end", "slash2")
    t.says("error('kept too', 0)", "kept too")
    t.send "half a line"
    t.expect "half a line"
    t.send "\3"
    t.expect "> "
    t.leave()
    assert.equal("one = 1\nfor i = 1, 2 do\\nprint('back\\\\\\\\slash' .. i) end\nerror('kept too', 0)\n", helpers.read(file))
    assert.equal("-rw-------", helpers.shell("ls -l " .. file):sub(1, 10))
    t = terminal { GRAFT_HISTORY = file }
    t.send "\27[A\27[A\r" -- two back
    t.expect "slash2"
    t.expect "> "
    t.send "\18one\r" -- Ctrl-R
    t.expect "one = 1"
    t.expect "> "
    t.says("one", "1")
    t.leave()
  end)
  it("goes into the user's folder of states unless it is switched off", function()
    local home = helpers.fresh "home"
    local function kept_in(name, settings)
      local t = terminal(settings)
      t.says("kept = 1", nil)
      t.leave()
      return helpers.read(home .. "/" .. name) ~= nil
    end
    assert.is_true(kept_in("xdg/graft/history", { XDG_STATE_HOME = home .. "/xdg", HOME = home, GRAFT_HISTORY = false }))
    assert.is_false(kept_in(".local/state/graft/history", { HOME = home, XDG_STATE_HOME = false, GRAFT_HISTORY = "" }))
    assert.is_true(kept_in(".local/state/graft/history", { HOME = home, XDG_STATE_HOME = false, GRAFT_HISTORY = false }))
  end)
  it("has a limit", function()
    local file = helpers.fresh "history"
    local lines = {}
    for i = 1, 2100 do
      lines[i] = "x = " .. i
    end
    helpers.write(file, table.concat(lines, "\n") .. "\n")
    local t = terminal { GRAFT_HISTORY = file }
    t.send "\27[A\r"
    t.expect "x = 2100"
    t.expect "> "
    t.leave()
    local text = helpers.read(file)
    local _, count = text:gsub("\n", "\n")
    assert.equal(2000, count)
    assert.equal("x = 101\n", text:sub(1, 8))
  end)
end)

describe("pasted text", function()
  it("is one block, with its tabs, that Enter runs", function()
    local file = helpers.fresh "history"
    local t = terminal { GRAFT_HISTORY = file }
    t.send "\27[200~local sum = 0\rfor i = 1, 4 do\r\tsum = sum + i -- graft.\t\rend\rsum\r'done' .. sum\r\27[201~"
    t.expect "'done' .. sum"
    t.send "\r"
    t.expect "10"
    t.expect "done10"
    t.expect "> "
    t.leave()
    assert.equal("local sum = 0\\nfor i = 1, 4 do\\n\tsum = sum + i -- graft.\t\\nend\\nsum\\n'done' .. sum\n",
      helpers.read(file))
  end)
  it("loses control characters", function()
    local t = terminal()
    t.send "\27[200~'a\27[31m\7b'\27[201~\r"
    t.expect "a[31mb\r\n"
    t.expect "> "
    t.leave()
  end)
end)

describe("a picture", function()
  it("has the colours of the terminal, and below it what it is", function()
    local photos = helpers.photos("pictures", { "mugs", "bowls" }, 4) .. "/mugs/1.jpg"
    local function shown(settings, columns)
      local t = terminal(settings, columns)
      t.says(("d = graft.data.folder(%q, { val = 0.25 })"):format(helpers.path "pictures"), nil)
      local text = t.says(("graft.image.show(%q)"):format(photos), "24x20")
      t.leave()
      assert.matches("mugs   %S+/pictures/mugs/1%.jpg   24x20\r\n", text)
      return text
    end
    assert.contains("\27[38;2;", shown { TERM = "xterm-256color", COLORTERM = "truecolor" })
    local text = shown { TERM = "xterm-256color" }
    assert.contains("\27[38;5;", text)
    assert.is_nil(text:find("\27[38;2;", 1, true))
    for _, settings in ipairs { { TERM = "xterm", NO_COLOR = "1", COLORTERM = "truecolor" }, { TERM = "vt100" } } do
      text = shown(settings, 50)
      assert.is_nil(text:find("\27[38", 1, true))
      for line in text:gsub("\27%[%?2004%l", ""):gmatch "[^\r\n]+" do
        assert.is_true(#line <= 50 or line:find("/", 1, true) ~= nil, line)
      end
    end
  end)
end)

describe("Ctrl-C", function()
  local function training()
    local photos = helpers.photos("stop-photos", { "mugs", "bowls" }, 12)
    local t = terminal()
    t.says(("d = graft.data.folder(%q, { val = 0.25 })"):format(photos), nil)
    t.says(("net = graft.load(%q):replace_head(d):freeze('body')"):format(helpers.weights()), nil)
    return t
  end

  it("ends a training in good order, which is the last result", function()
    local t = training()
    t.send "net:unfreeze('*') before = net:digest() graft.fit(net, d, { epochs = 100000 })\r"
    t.expect "epoch "
    t.expect "val "
    t.send "\3"
    t.expect "   ^C\r\n"
    local told = t.expect("> "):gsub("\r\n +", " ") -- the line is longer than the terminal
    assert.matches("^run: stopped by you in epoch %d+ of 100000; best val %d%.%d%d%d %(%d of 6%) at epoch %d+, "
      .. "which net now holds; in runs/prompt%-1\r\n", told)
    t.says("_.stopped", "interrupt")
    t.says("net:digest() ~= before", "true")
    t.leave()
    for _, name in ipairs { "best.safetensors", "last.safetensors", "metrics.csv", "report.txt" } do
      assert.is_not_nil(helpers.read(helpers.path("runs/prompt-1/" .. name)), name)
    end
  end)
  it("ends a training whose frozen part has not seen all photos yet", function()
    local t = training()
    t.says("list = {} for i = 1, 60000 do list[i] = { image = d.train[i % #d.train + 1].file, class = d.classes[i % 2 + 1] } end")
    t.send "before = net:digest() graft.fit(net, graft.data.list(list, { val = 0 }), { epochs = 2 })\r"
    t.expect "frozen part"
    t.expect "/60000 photos"
    t.send "\3"
    t.expect "frozen part  not finished   ^C\r\n"
    t.expect "no epoch came to its end"
    t.expect "> "
    t.says("run = _", nil)
    t.says("run.stopped, #run.epochs, run.kept == nil, net:digest() == before", "interrupt\t0\ttrue\ttrue")
    t.leave()
  end)
  it("leaves a network alone that lr_find was trying", function()
    local t = training()
    t.send "before = net:digest() graft.lr_find(net, d, { steps = 100000 })\r"
    t.expect "lr "
    t.send "\3"
    t.expect "interrupted"
    t.expect "> "
    t.says("net:digest() == before", "true")
    t.leave()
  end)
  it("ends all phases of a training, and what was pasted with it", function()
    local t = training()
    t.send "\27[200~graft.fine_tune(net, d, { epochs = 100000 })\nprint('not ' .. 'reached')\27[201~\r"
    t.expect "epoch "
    t.expect "val "
    t.send "\3"
    local told = t.expect "holds"
    assert.is_nil((told .. t.expect "> "):find("not reached", 1, true))
    t.says("#_.epochs >= 1, _.name", "head")
    t.leave()
  end)
  it("interrupts what takes long in C and in Lua, and the session goes on", function()
    local t = training()
    t.says("a = graft.rand(1500, 1500)", nil)
    for i, line in ipairs { "while true do b = a:matmul(a) end", "while true do graft.evaluate(net, d.val) end",
      "while true do graft.embed(net, d.train) end", "while true do net:features(graft.zeros(64, 3, 16, 16), 'layer2') end",
      "while true do for x in d.train:batches{ net = net, augment = 'standard' } do y = x end end",
      "while true do c = graft.randn(1000, 1000):argsort(1) end",
      "while true do pcall(graft.data.folder, 'stop-photos', { val = 0.2 }) end",
      "while true do pcall(graft.load, 'none') end" } do
      t.send(line .. "\r")
      t.expect "\n"
      os.execute "sleep 0.1"
      t.send "\3"
      t.expect "interrupted"
      t.expect "> "
      t.says("'still here ' .. " .. i, "still here " .. i)
    end
    t.says("net:digest() == net:clone():digest()", "true")
    t.leave()
  end)
end)
