-- The sandbox: every recipe of tests/attacks/ is refused as its first lines say, nothing outside its run folder changes, and
-- nothing that it must not know is shown. Then: what a recipe can reach, what the system is asked, how runs end.
local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"

local SECRET = "TOP-SECRET"
local work, outside = helpers.path "work", helpers.path "outside"

local classes = { "bowls", "mugs" }
helpers.photos("work/data", classes, 8)
core.make_folder(outside .. "/bowls")
helpers.write(outside .. "/secret.txt", SECRET)
helpers.write(outside .. "/table.csv", "file,tag\nphoto.png,a\nphoto.png,b\n")
graft.image.save(helpers.photo("mugs", 3), outside .. "/photo.png")
graft.image.save(helpers.photo("mugs", 3), outside .. "/bowls/photo.png")
graft.ones(3):save(outside .. "/numbers.npy")
helpers.write(work .. "/data/list.csv", "file,tag\nmugs/1.jpg,a\nmugs/2.png,a\nbowls/1.jpg,b\nbowls/2.png,b\n"
  .. "../../outside/photo.png,a\nmugs/link.png,b\n" .. outside .. "/photo.png,b\n")
helpers.shell(("ln -s '%s/photo.png' '%s/data/mugs/link.png'; ln -s '%s' '%s/data/away'"):format(outside, work, outside, work))
local net = graft.models.fashion { classes = classes }
net:save(work .. "/weights.safetensors")
net:save(outside .. "/weights.safetensors")

local function quoted(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = "'" .. tostring(word):gsub("'", "'\\''") .. "'"
  end
  return table.concat(list, " ")
end

-- Runs `graft WORDS...` in the folder where recipes lie; returns {status=, out=, err=, seconds=}.
local function run(words, before)
  local out, err = helpers.path "sandbox-out", helpers.path "sandbox-err"
  local started = core.clock()
  local _, _, status = os.execute(("unset LD_PRELOAD; cd '%s'; SECRET=%s %s timeout -k 5 120 '%s' %s >'%s' 2>'%s' </dev/null")
    :format(work, SECRET, before or "", helpers.program, quoted(words), out, err))
  return { status = status, out = helpers.read(out), err = helpers.read(err), seconds = core.clock() - started }
end

local function told(result)
  return ("status %s after %.1f s\n--- stdout\n%s\n--- stderr\n%s"):format(result.status, result.seconds, result.out:sub(1, 2000),
    result.err:sub(1, 2000))
end

-- What lies around the run folders, with times: a run must not change it.
local function surroundings()
  return helpers.shell(("cd '%s'; ls -lR --time-style=full-iso outside work/data work/*.safetensors; ls work | grep -v '^run-'")
    :format(helpers.root))
end

-- The first lines of an attack.
local function header(text)
  local attack = { says = {}, words = {}, within = 60 }
  for line in text:gmatch "%-%- ([^\n]*)\n" do
    local key, value = line:match "^(%a+): (.*)$"
    if key == "Tries" then
      attack.tries = value
    elseif key == "Words" then
      for word in value:gmatch "%S+" do
        table.insert(attack.words, word)
      end
    elseif key == "Status" then
      attack.status = tonumber(value)
    elseif key == "Says" then
      table.insert(attack.says, value)
    elseif key == "Within" then
      attack.within = tonumber(value:match "^[%d.]+")
    end
  end
  return attack
end

local attacks = core.list "tests/attacks"
local number = 0

local function try(file, before)
  local text = helpers.read("tests/attacks/" .. file)
  local attack = header(text)
  number = number + 1
  local words = { "run", helpers.tests .. "/attacks/" .. file, "--out", "run-" .. number, table.unpack(attack.words) }
  local was = surroundings()
  local result = run(words, before)
  assert.equal(attack.status, result.status, told(result))
  for _, piece in ipairs(attack.says) do
    assert.truthy((result.out .. result.err):find(piece, 1, true), ("%q is missing: "):format(piece) .. told(result))
  end
  for _, never in ipairs { "BREACH", SECRET, "\27", "\xc2\x9b", "root:x:", ": 0x", "attempt to", "Sanitizer" } do
    assert.falsy((result.out .. result.err):find(never, 1, true), ("%q is there: "):format(never) .. told(result))
  end
  assert.is_true(#result.err < 6000, "a flood")
  assert.is_true(result.seconds < attack.within, told(result))
  assert.equal(was, surroundings())
end

describe("an attack", function()
  it("has a header that says what it tries", function()
    assert.is_true(#attacks >= 45)
    for _, file in ipairs(attacks) do
      local attack = header(helpers.read("tests/attacks/" .. file))
      assert.truthy(attack.tries and attack.status and #attack.says > 0, file)
    end
  end)
  for _, file in ipairs(attacks) do
    it(("%s: %s"):format(file:match "^[^.]+", header(helpers.read("tests/attacks/" .. file)).tries), function()
      try(file)
    end)
  end
end)

-- The paths that the library checks hold by themselves.
describe("without Landlock, an attack", function()
  for _, file in ipairs(attacks) do
    if file:find "^files_" or file:find "^write_" then
      it(file:match "^[^.]+", function()
        try(file, "GRAFT_LANDLOCK=0")
      end)
    end
  end
end)

describe("a recipe that is no text", function()
  local function write(name, text)
    return helpers.write(work .. "/" .. name, text)
  end
  it("is refused", function()
    write("compiled.lua", string.dump(function() end))
    local result = run { "run", "compiled.lua" }
    assert.equal(1, result.status)
    assert.contains("compiled Lua", result.err)
    write("compiled.lua", "\n" .. string.dump(function() end))
    assert.contains("does not compile", run { "run", "compiled.lua" }.err)
    os.remove(work .. "/compiled.lua")
  end)
  it("nor may its parts nest without end", function()
    for _, text in ipairs { "return " .. ("("):rep(100000), "return " .. ("{"):rep(100000), ("do "):rep(100000),
      "return " .. ("not "):rep(100000) .. "1", "return " .. ("'x'.."):rep(100000) .. "1", ("a."):rep(100000) .. "b = 1" } do
      write("deep.lua", text)
      local result = run { "run", "deep.lua" }
      assert.equal(1, result.status, told(result))
      assert.matches("^graft: [^\n]*\n$", result.err)
    end
    os.remove(work .. "/deep.lua")
  end)
end)

-- ---- what a recipe can reach ----

describe("the Lua of a recipe", function()
  local guest = require "graft.guest"
  local context = require "graft.context"
  local stdout, stderr, out, methods = io.stdout, io.stderr, print, debug.getmetatable("").__index
  local raw = require("graft.output").raw
  guest.prepare()
  local env = guest.environment()
  rawset(io, "stdout", stdout)
  rawset(io, "stderr", stderr)
  require("graft.output").raw = raw
  print = out -- luacheck: ignore 121

  -- Everything that indexing and metatables lead to, from the globals and from objects of Graft's; upvalues are for
  -- the functions alone, since a recipe has no debug library.
  local function reachable(...)
    local seen, todo = {}, { ... }
    while #todo > 0 do
      local value = table.remove(todo)
      local kind = type(value)
      if (kind == "table" or kind == "function" or kind == "userdata") and not seen[value] then
        seen[value] = true
        if type(value) == "table" then
          for k, v in next, value do
            todo[#todo + 1] = k
            todo[#todo + 1] = v
          end
        end
        local meta = type(value) ~= "function" and debug.getmetatable(value)
        if meta and type(meta.__index) == "table" then -- what indexing finds; the metatable itself is closed
          todo[#todo + 1] = meta.__index
        end
        if type(value) == "table" and type(env.getmetatable(value)) == "table" then
          todo[#todo + 1] = env.getmetatable(value)
        end
      end
    end
    return seen
  end

  local d = graft.data.folder(work .. "/data", { max_skip = 1 })
  local trained = graft.load(work .. "/weights.safetensors")
  local next_batch, state, control = d.train:batches { net = trained, batch_size = 2 }
  local _, _, batch = next_batch(state, control)
  local trainer = graft.trainer(trained, { optimizer = graft.sgd { lr = 1 } })
  local strings = debug.getmetatable("").__index
  local seen = reachable(env, strings, d, d.train, trained, batch, trainer, graft.sgd { lr = 1 }, graft.zeros(2),
    select(2, pcall(graft.zeros, "x")))
  debug.getmetatable("").__index = methods

  it("leads to no function that is not its own", function()
    local count = 0
    for _ in pairs(seen) do
      count = count + 1
    end
    assert.is_true(count > 200, count .. " values")
    local forbidden = { load = load, loadfile = loadfile, dofile = dofile, collectgarbage = collectgarbage, require = require,
      setmetatable = setmetatable, getmetatable = getmetatable, pcall = pcall, xpcall = xpcall, next = next, pairs = pairs,
      warn = warn, tostring = tostring, dump = string.dump, rep = string.rep, format = string.format,
      concat = table.concat, move = table.move, unpack = table.unpack,
      insert = table.insert, remove = table.remove, sort = table.sort }
    for _, library in ipairs { "io", "debug", "package" } do
      for name, f in pairs(_G[library]) do
        forbidden[library .. "." .. name] = f
      end
    end
    for name, f in pairs(os) do
      forbidden["os." .. name] = not ({ clock = true, date = true, difftime = true, time = true })[name] and f or nil
    end
    for name, f in pairs(coroutine) do
      local harmless = { isyieldable = true, running = true, status = true, yield = true }
      forbidden["coroutine." .. name] = not harmless[name] and f or nil
    end
    for _, name in ipairs { "read", "write", "remove", "rename", "list", "stat", "make_folder", "memory", "clear_interrupt",
      "hold_interrupt", "child", "guard", "error", "embedded", "digest_file", "weights", "save_weights", "save_model",
      "export", "process_peak", "seed", "fit", "register_layer", "features", "forget" } do
      forbidden["core." .. name] = core[name]
    end
    for name, value in pairs(forbidden) do
      assert.falsy(seen[value], name)
    end
  end)

  it("leads to no table of the library's, which it could change", function()
    local closed = { _G = _G, core = core, context = context, loaded = package.loaded, strings = strings, graft = graft,
      ["graft.data"] = graft.data, ["graft.nn"] = graft.nn, ["graft.augment"] = graft.augment, ["graft.image"] = graft.image,
      guest = guest, tensors = core.tensor }
    for name, library in pairs(package.loaded) do
      closed["module " .. name] = library
    end
    for name, value in pairs(closed) do
      assert.is_true(name == "strings" or not seen[value], name)
    end
    assert.not_equal(strings, env.string) -- the methods of strings: found by their names, held by no name
    for _, object in ipairs { "", graft.zeros(1), trained, d, env.graft, env, env.io } do
      assert.not_equal("table", type(env.getmetatable(object)))
    end
  end)

  it("visits fields in order", function()
    local t = { 3, 2, 1, b = 1, a = 2, [1.5] = 3, [-1] = 4, [true] = 5, [10] = 6 }
    for _, walk in ipairs { env.pairs, function(x) return env.next, x end } do
      local keys = {}
      for key in walk(t) do
        keys[#keys + 1] = tostring(key)
      end
      assert.equal("1 2 3 -1 1.5 10 a b true", table.concat(keys, " "))
    end
    for key in env.pairs(t) do
      t[key] = nil
    end
    assert.is_nil(next(t))
    assert.is_nil(env.next(t))
    assert.has_error(function() env.next({ 1 }, "x") end)
    local seen_models = 0
    for _ in env.pairs(env.graft.models) do
      seen_models = seen_models + 1
    end
    assert.is_true(seen_models > 5)
  end)

  it("has metatables that work as they should", function()
    local class = {}
    class.__index = class
    function class:name() return self.n end
    local object = env.setmetatable({ n = "x" }, class)
    assert.equal("x", object:name())
    assert.equal(class, env.getmetatable(object))
    function class.late() return "late" end
    assert.equal("late", object.late())
    local meta = { __call = function(_, x) return x + 1 end, __len = function() return 7 end,
      __tostring = function() return "t" end }
    local t = env.setmetatable({}, meta)
    assert.same({ 3, 7, "t" }, { t(2), #t, env.tostring(t) })
    meta.__unm = function() return "minus" end
    env.setmetatable(t, meta) -- events that came later count from here on
    assert.equal("minus", -t)
    assert.is_nil(env.getmetatable(env.setmetatable(t, nil)))
    meta.__metatable = "closed"
    env.setmetatable(t, meta)
    assert.equal("closed", env.getmetatable(t))
    assert.has_error(function() env.setmetatable(t, {}) end)
  end)

  it("catches errors as Lua does", function()
    assert.same({ false, "x" }, { env.pcall(env.error, "x", 0) })
    assert.same({ true, 1, 2 }, { env.pcall(function(...) return ... end, 1, 2) })
    assert.same({ false, "x!" }, { env.xpcall(env.error, function(m) return m .. "!" end, "x", 0) })
    local step = env.coroutine.wrap(function(a)
      local b = env.coroutine.yield(a + 1)
      env.error("end " .. b, 0)
    end)
    assert.equal(2, step(1))
    assert.same({ false, "end x" }, { env.pcall(step, "x") })
  end)
end)

-- ---- how runs look ----

local honest = helpers.write(work .. "/honest.lua", [[
  local graft = require "graft"
  local opt = graft.options { data = { type = "folder" }, weights = { type = "file" }, epochs = 2 }
  local d = graft.data.folder(opt.data, { max_skip = 1 })
  local net = graft.load(opt.weights):replace_head(d):freeze "body"
  graft.fit(net, d, { epochs = opt.epochs, threads = 1, optimizer = graft.sgd { lr = 0.01 } })
  net:save(graft.out "again.safetensors")
  print(math.random(1000000))
]])
local words = { "run", "honest.lua", "--data", "data", "--weights", "weights.safetensors", "--quiet" }

helpers.write(work .. "/loop.lua", "io.stderr:write 'going\\n' while true do end")

local function with(more)
  return table.move(more, 1, #more, #words + 1, { table.unpack(words) })
end

describe("a recipe in the sandbox", function()
  it("gives the same model as outside, and the same random numbers each time", function()
    local one, two = run(with { "--out", "run-a" }), run(with { "--out", "run-b" })
    local free = run(with { "--out", "run-c", "--trust" })
    assert.same({ 0, 0, 0 }, { one.status, two.status, free.status }, told(one))
    assert.equal(one.out, two.out)
    for _, name in ipairs { "best.safetensors", "again.safetensors", "recipe.lua", "recipe.lock" } do
      assert.truthy(core.stat(work .. "/run-a/" .. name), name)
    end
    local digest = core.load_model(work .. "/run-a/best.safetensors"):digest()
    assert.equal(digest, (core.load_model(work .. "/run-c/best.safetensors"):digest()))
  end)

  it("leaves no folder where nothing came into it", function()
    helpers.write(work .. "/nothing.lua", "print 'hello'")
    assert.equal("hello\n", run { "run", "nothing.lua" }.out)
    assert.is_nil(core.stat(work .. "/runs"))
    assert.equal(1, run({ "run", "nothing.lua", "--out", "run-a" }).status)
    assert.is_true(#core.list(work .. "/run-a") > 3)
  end)

  it("is told that what the user named is not there", function()
    local result = run { "run", "honest.lua", "--data", "photoz", "--weights=weights.safetensors" }
    assert.equal(1, result.status, told(result))
    assert.contains("photoz: no such folder", result.err)
    result = run { "run", "honest.lua", "--data", "data", "--weights=../outside/none.pth" }
    assert.contains("none.pth", result.err)
    assert.contains("no such file", result.err)
  end)

  it("does not choose its run folder", function()
    helpers.write(work .. "/chooses.lua", helpers.read(honest):gsub("threads = 1", "out = 'elsewhere'"))
    local result = run { "run", "chooses.lua", "--data", "data", "--weights", "weights.safetensors" }
    assert.equal(1, result.status, told(result))
    assert.contains('out = "elsewhere": a recipe in the sandbox does not choose its run folder', result.err)
    assert.is_nil(core.stat(work .. "/elsewhere"))
  end)

  it("goes on with --resume", function()
    assert.equal(0, run(with { "--out", "run-r" }).status)
    local result = run(with { "--out", "run-r", "--resume" })
    assert.equal(0, result.status, told(result))
  end)

  it("is planned without writing", function()
    local result = run { "plan", "honest.lua", "--data", "data", "--weights", "weights.safetensors" }
    assert.equal(0, result.status, told(result))
    assert.contains("Nothing was trained or written.", result.out)
    assert.is_nil(core.stat(work .. "/runs"))
    helpers.write(work .. "/writes.lua", "require 'graft'.zeros(2):save 'x.npy'")
    assert.contains("is not for this recipe", run { "plan", "writes.lua" }.err)
  end)

  it("reads data that nobody may write", function()
    helpers.shell(("cp -r '%s/data' '%s/fixed'; chmod -R a-w '%s/fixed'"):format(work, work, work))
    local result = run { "run", "honest.lua", "--data=fixed", "--weights", "weights.safetensors", "--out", "run-fixed" }
    assert.equal(0, result.status, told(result))
    helpers.shell(("chmod -R u+w '%s/fixed'; rm -r '%s/fixed'"):format(work, work))
  end)

  it("reads data behind a link that the user named", function()
    helpers.shell(("ln -s data '%s/linked'"):format(work))
    local result = run { "run", "honest.lua", "--data", "linked", "--weights", "weights.safetensors", "--out", "run-linked" }
    assert.equal(0, result.status, told(result))
    os.remove(work .. "/linked")
  end)

  it("is told what a limit is", function()
    for _, case in ipairs { { "--max-memory", "lots", "a size such as 8GiB" }, { "--max-memory", "1MiB", "at least 64 MiB" },
      { "--max-time", "0", "a time such as 90s" }, { "--max-time", "soon", "a time such as 90s" },
      { "--max-disk", "-1", "a size" } } do
      local result = run(with { case[1], case[2] })
      assert.equal(2, result.status, told(result))
      assert.contains(case[3], result.err)
    end
  end)

  it("ends its fit at the limit of time, with its last checkpoint whole", function()
    local result = run(with { "--epochs", "1000000", "--max-time", "2s", "--out", "run-time" })
    assert.equal(1, result.status, told(result))
    assert.contains("limit of time", result.err)
    assert.contains("--resume goes on", result.err)
    assert.falsy(result.err:find("interrupted", 1, true), told(result))
    assert.is_true(result.seconds < 4.5, told(result))
    assert.truthy(core.weights(work .. "/run-time/last.safetensors"))
  end)

  it("ends with what ends it", function()
    for _, case in ipairs { { "INT", 130 }, { "TERM", 143 } } do
      local result = helpers.interrupted({ "run", work .. "/loop.lua" }, { after = "going", signals = { case[1] },
        strict = true })
      assert.equal(case[2], result.status, result.err)
    end
    helpers.write(work .. "/inside.lua", [[
      io.stderr:write 'going\n'
      while true do
        pcall(coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end))
      end]])
    assert.equal(130, helpers.interrupted({ "run", work .. "/inside.lua" }, { after = "going", signals = { "INT" },
      strict = true }).status)
    helpers.write(work .. "/pattern.lua", "io.stderr:write 'going\\n' print((('a'):rep(100000)):find((('.-'):rep(30) .. 'b')))")
    local result = helpers.interrupted({ "run", work .. "/pattern.lua" }, { after = "going", signals = { "INT", "INT" },
      strict = true })
    assert.equal(130, result.status, result.err)
    -- the child dies with its parent
    helpers.interrupted({ "run", work .. "/loop.lua" }, { after = "going", signals = { "KILL" }, strict = true })
    assert.equal("0", helpers.shell(("sleep 0.2; grep -alz '^%s/loop.lua' /proc/[0-9]*/cmdline 2>/dev/null | wc -l")
      :format(work)))
  end)

  it("that crashes, or is killed, is told from one that fails", function()
    for signal, message in pairs { SEGV = "crash (signal 11)", SYS = "has no place in a sandbox", KILL = "for want of memory" } do
      local text = helpers.shell(([[cd '%s'; rm -f crash.txt; '%s' run loop.lua >/dev/null 2>crash.txt & pid=$!; n=0
        while ! grep -qs going crash.txt && [ $n -lt 1000 ]; do sleep 0.01; n=$((n + 1)); done
        kill -%s $(cat /proc/$pid/task/$pid/children) 2>/dev/null || kill -TERM $pid; wait $pid; echo $?]]):format(work,
        helpers.program, signal))
      if text == "143" then
        skip "the system does not tell who a process's children are"
      end
      assert.equal("1", text)
      local said = helpers.read(work .. "/crash.txt")
      assert.truthy(said:find(message, 1, true) or said:find("AddressSanitizer", 1, true), said) -- which catches that signal
    end
  end)

  it("inherits neither variables nor files, and has no new privileges", function()
    local text = helpers.shell(([[cd '%s'; rm -f seen.txt; exec 7<data/list.csv; export SECRET=%s
      '%s' run loop.lua >/dev/null 2>seen.txt & pid=$!; n=0
      while ! grep -qs going seen.txt && [ $n -lt 1000 ]; do sleep 0.01; n=$((n + 1)); done
      child=$(cat /proc/$pid/task/$pid/children | tr -d ' ')
      [ -n "$child" ] || { kill $pid; echo unknown; exit; }
      tr '\0' '\n' </proc/$child/environ | grep -c SECRET; ls /proc/$child/fd | tr '\n' ' '
      readlink /proc/$child/fd/3 | sed "s/$child/ITS/"
      grep -E 'NoNewPrivs|Seccomp:' /proc/$child/status | tr -s '\t\n' ' '; kill $pid; wait $pid 2>/dev/null]]):format(work,
      SECRET, helpers.program))
    if text:find "unknown" then
      skip "the system does not tell who a process's children are"
    end
    assert.matches("^0\n0 1 2 3 /proc/ITS/status\nNoNewPrivs: 1 Seccomp: 2", text)
  end)

  it("runs for another command, too", function()
    local job = ([[local sandbox, recipe = require "graft.sandbox", require "graft.recipe"
      local words = { "run", "honest.lua", "--data", "data", "--weights", "weights.safetensors", "--quiet", "--seed", "3" }
      print(sandbox.run { words = words, recipe = recipe.find "honest.lua", read = { "data", "weights.safetensors" },
        out = "run-job", given = {}, silent = true })]])
    assert.equal("0\n", run({ "-e", job }).out)
    assert.truthy(core.stat(work .. "/run-job/recipe.lock"))
  end)

  it("stands aside for those who read no further", function()
    helpers.write(work .. "/endless.lua", "while true do print 'line' end")
    local text = helpers.shell(("cd '%s'; '%s' run endless.lua 2>&1 | head -n 2"):format(work, helpers.program))
    assert.equal("line\nline", text)
  end)

  it("is not to be had by hand", function()
    local result = run { "--guest", "run", "honest.lua" }
    assert.equal(98, result.status)
    assert.contains("for people there is graft run", result.err)
  end)
end)

-- ---- what the system is asked ----

-- The system calls of the child after it has given its rights up: {name=, text=}.
local function traced(recipe, more)
  local log = helpers.path "trace"
  local calls = "trace=file,network,process,desc,ipc,seccomp,clone,clone3,ptrace,mount,unshare"
  helpers.shell(("cd '%s'; strace -f -qq -e '%s' -o '%s' '%s' run %s %s >/dev/null 2>&1"):format(work, calls, log,
    helpers.program, recipe, quoted(more)))
  local list, child, closed, parent = {}, nil, false, nil
  for line in (helpers.read(log) or ""):gmatch "[^\n]+" do
    local pid, name = line:match "^(%d+)%s+([%w_]+)%("
    if pid then
      parent = parent or pid
      if closed and pid ~= parent then
        list[#list + 1] = { name = name, text = line }
      elseif name == "seccomp" and line:find("SECCOMP_SET_MODE_FILTER", 1, true) and line:find("TSYNC", 1, true)
        and not line:find("EFAULT", 1, true) then
        child, closed = pid, true
      end
    end
  end
  return child and list or nil
end

describe("after the child has given its rights up", function()
  local may = {}
  for name in ([[ access clone clone3 close exit exit_group faccessat faccessat2 fadvise64 fcntl fstat fsync ftruncate futex
    getcwd getdents64 ioctl lseek lstat mkdir mkdirat mmap munmap newfstatat open openat openat2 pread64 pwrite64
    read readlink readlinkat rename renameat renameat2 rmdir stat statx unlink unlinkat write writev ]]):gmatch "%S+" do
    may[name] = true
  end

  it("it opens nothing outside its roots, and asks for no process and no network", function()
    if helpers.shell "strace -qq -o /dev/null true && echo good" ~= "good" then
      skip "strace cannot be used here"
    end
    local list = assert(traced("honest.lua", { "--data", "data", "--weights", "weights.safetensors", "--out", "run-traced" }))
    local opened = 0
    local real = helpers.shell(("realpath '%s'"):format(work))
    for _, call in ipairs(list) do
      assert.is_true(may[call.name] or false, call.text)
      if call.name == "clone" then
        assert.contains("CLONE_THREAD", call.text)
      end
      local folder, path = call.text:match '^%d+%s+openat2?%(([%w_]+), "([^"]*)"'
      if path then
        opened = opened + 1
        if folder == "AT_FDCWD" then
          local inside = path:sub(1, #real + 1) == real .. "/" and not path:find("..", 1, true)
          local rest = path:sub(#real + 2)
          assert.truthy(inside and (rest:find "^data" or rest:find "^run%-traced" or rest == "weights.safetensors"), call.text)
        else -- beneath a folder that was opened so
          assert.falsy(path:find("..", 1, true) or path:find "^/", call.text)
        end
      end
    end
    assert.is_true(opened > 20, opened .. " files")
  end)

  it("an attack opens nothing at all", function()
    if helpers.shell "strace -qq -o /dev/null true && echo good" ~= "good" then
      skip "strace cannot be used here"
    end
    for _, file in ipairs { "files_proc", "files_weights", "files_devices", "write_numbers", "system_execute", "system_core" } do
      for _, call in ipairs(assert(traced(helpers.tests .. "/attacks/" .. file .. ".lua", {}))) do
        assert.falsy(call.name:find "^open" or call.name:find "^exec" or call.name:find "^mk" or call.name == "socket"
          or call.name:find "^clone" or call.name:find "fork", call.text)
      end
    end
  end)
end)

describe("a kernel", function()
  local function injected(call, failure, more)
    if helpers.shell "strace -qq -o /dev/null true && echo good" ~= "good" then
      skip "strace cannot be used here"
    end
    local strace = ("strace -f -qq -e trace=%s -e inject=%s:error=%s -o /dev/null"):format(call, call, failure)
    return helpers.shell(("cd '%s'; ASAN_OPTIONS=detect_leaks=0 %s '%s' %s 2>&1; echo $?"):format(work, strace, helpers.program,
      quoted(more)))
  end
  it("without seccomp runs no recipe", function()
    local text = injected("seccomp", "EINVAL", { "run", "honest.lua", "--data", "data", "--weights", "weights.safetensors",
      "--out", "run-bare" })
    assert.matches("no filter of system calls.*%-%-trust\n1$", text)
    assert.is_nil(core.stat(work .. "/run-bare"))
  end)
  it("without Landlock runs them, and says what it lacks", function()
    local text = injected("landlock_create_ruleset", "ENOSYS", with { "--out", "run-older" })
    assert.matches("\n0$", text)
    text = injected("landlock_create_ruleset", "EOPNOTSUPP", { "run", helpers.tests .. "/attacks/files_weights.lua" })
    assert.matches("is not for this recipe.*\n1$", text)
    assert.contains("this kernel has no Landlock", injected("landlock_create_ruleset", "ENOSYS", { "--version" }))
  end)
end)

describe("the start", function()
  it("of a recipe takes moments", function()
    helpers.write(work .. "/empty.lua", "")
    local best = math.huge
    for _ = 1, 5 do
      best = math.min(best, run({ "run", "empty.lua" }).seconds)
    end
    assert.is_true(best < 1, ("%.3f s"):format(best))
  end)
end)
