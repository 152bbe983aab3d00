-- make install and make uninstall, what stock Lua finds afterwards, and completion in shells.
local helpers = require "helpers"
local core = require "graft.core"

local build = os.getenv "GRAFT_BUILD" or "build"
local lua = os.getenv "LUA" or "lua5.4"
local sanitized = os.getenv "SANITIZED"

-- Runs a command of the shell in the project's folder; returns its output and whether it ended well.
local function sh(command)
  local out = helpers.fresh "out"
  local ok = os.execute(("unset LD_PRELOAD; { %s; } >'%s' 2>&1 </dev/null"):format(command, out))
  return helpers.read(out), ok
end

-- As `make install` calls it, without building first.
local function install(what, destination, prefix)
  return sh(("BUILD='%s' DESTDIR='%s' PREFIX='%s' LUA=%s PACKAGES=zlib sh scripts/install.sh %s"):format(build, destination,
    prefix, lua, what))
end

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1")
end

describe("make install", function()
  local root = helpers.fresh "root"
  local said, installed = install("install", root, "/far/graft")
  local at = root .. "/far/graft"

  it("puts everything below PREFIX, and says how stock Lua finds the module", function()
    assert.truthy(installed, said)
    for _, file in ipairs { "bin/graft", "lib/libgraft.a", "lib/lua/5.4/graft.so", "include/graft/net/network.h",
      "include/graft/io/pack.h", "lib/pkgconfig/graft.pc", "share/graft/recipes/head_only.lua",
      "share/graft/models/fashion_six.safetensors", "share/doc/graft/README.md", "share/doc/graft/LICENSE",
      "share/bash-completion/completions/graft", "share/zsh/site-functions/_graft" } do
      assert.truthy(core.stat(at .. "/" .. file), file)
    end
    assert.contains("export LUA_CPATH='/far/graft/lib/lua/5.4/?.so;;'", said)
    local text = sh(("'%s/bin/graft' -e 'graft.version'"):format(at))
    assert.equal(core.version .. "\n", text)
  end)

  it("says nothing of LUA_CPATH where stock Lua looks anyway", function()
    local other = helpers.fresh "root"
    local text = install("install", other, "/usr/local")
    assert.falsy(text:find("LUA_CPATH", 1, true), text)
  end)

  it("lets stock Lua say require \"graft\"", function()
    if sanitized then
      skip "the sanitizer has to be loaded before Lua"
    end
    local text, ok = sh(("cd / && LUA_CPATH='%s/lib/lua/5.4/?.so;;' %s -e 'local graft = require \"graft\" print(graft.version, "
      .. "graft.ones(2, 2):sum())'"):format(at, lua))
    assert.truthy(ok, text)
    assert.equal(core.version .. "\t4.0\n", text)
  end)

  it("lets a C program use the library", function()
    if sanitized or not (has "cc" and has "pkg-config") then
      skip "needs cc and pkg-config, and a build without sanitizers"
    end
    local source = helpers.write(helpers.fresh "use" .. ".c", [[
      #include <stdio.h>
      #include "base/status.h"
      #include "io/pack.h"
      int main(void) { printf("%s %s\n", gr_status_name(GR_ERROR_FILE), gr_pack_name(GR_PACK_RECIPE)); return 0; }
    ]])
    local program = helpers.fresh "use"
    local text, ok = sh(("cc -o %s %s -I'%s/include/graft' '%s/lib/libgraft.a' $(pkg-config --libs zlib nettle libmd "
      .. "2>/dev/null || pkg-config --libs zlib libmd) -lm -pthread && %s"):format(program, source, at, at, program))
    assert.truthy(ok, text)
    assert.equal("file recipe.lua\n", text)
  end)

  it("is undone by make uninstall, which leaves what is others'", function()
    helpers.write(at .. "/lib/other.txt", "dear")
    local text, ok = install("uninstall", root, "/far/graft")
    assert.truthy(ok, text)
    assert.equal(at .. "/lib/other.txt\n", (sh(("find '%s' -type f"):format(root))))
    assert.equal("dear", helpers.read(at .. "/lib/other.txt"))
  end)
end)

describe("completion", function()
  local photos = helpers.photos("some photos", { "bowls" }, 1)
  helpers.recipe('local graft = require "graft"\nlocal opt = graft.options { colour = "red" }\n', "mine.lua")
  local bash = helpers.write(helpers.path "graft.bash", helpers.done({ "help", "--completion", "bash" }).out)
  local zsh = helpers.write(helpers.path "_graft", helpers.done({ "help", "--completion", "zsh" }).out)

  -- What bash offers for a line that ends in the word to complete.
  local function offers(line)
    local words = {}
    for word in (line .. "|"):gmatch "([^ ]*)[ |]" do
      words[#words + 1] = "'" .. word .. "'"
    end
    words[1] = "'" .. helpers.program .. "'"
    return (sh(("cd '%s' && bash --norc -c '. %s; COMP_WORDS=(%s); COMP_CWORD=%d; compopt() { :; }; _graft; "
      .. "printf \"%%s\\n\" \"${COMPREPLY[@]}\"'"):format(helpers.root, bash, table.concat(words, " "):gsub("'", '"'),
      #words - 1)))
  end

  it("knows commands, recipes, options, choices and topics in bash", function()
    if not has "bash" then
      skip "bash is not installed"
    end
    assert.contains("plan\nprobe\npredict\n", offers "graft p")
    assert.falsy(offers("graft p"):find("run", 1, true))
    local recipes = offers "graft run "
    for _, word in ipairs { "head_only", "grid_search", "mine.lua", "some photos" } do
      assert.contains(word .. "\n", recipes)
    end
    assert.equal("head_only\n", offers "graft plan head")
    assert.equal("--weights\n", offers "graft pack runs/x out.graft --w")
    assert.equal("little-similar\nlittle-different\n", offers "graft new x --situation lit")
    assert.contains("weights\n", offers "graft help w")
  end)

  it("asks a recipe for its options", function()
    if not has "bash" then
      skip "bash is not installed"
    end
    assert.equal("--colour\n", offers "graft run mine.lua --c")
    assert.contains("--head-epochs\n", offers "graft run fine_tune --")
    assert.contains("--seed\n", offers "graft run fine_tune --")
  end)

  it("is sound in zsh", function()
    if not has "zsh" then
      skip "zsh is not installed"
    end
    local text, ok = sh(("zsh -f -c 'autoload -Uz compinit; compinit -D -u; fpath=(%s $fpath); autoload -Uz _graft; "
      .. "autoload +X _graft && print ready'"):format(helpers.root))
    assert.truthy(ok, text)
    assert.equal("ready\n", text)
    assert.contains("compadd -- little-similar", helpers.read(zsh))
    assert.truthy(core.stat(photos))
  end)

  it("refuses other shells", function()
    helpers.refused({ "help", "--completion", "fish" }, 2, "bash, zsh")
  end)
end)

describe("the static program", function()
  local static = build .. "/static/graft"
  it("needs no library and runs where there is nothing else", function()
    if not core.stat(static) then
      skip "make static was not run"
    end
    local kind = sh(("ldd '%s'"):format(static))
    assert.contains("not a dynamic executable", kind)
    local root = helpers.fresh "empty"
    core.make_folder(root .. "/data")
    sh(("cp '%s' %s/graft && cp -r '%s' %s/data/photos"):format(static, root, helpers.photos("three", { "bowls", "mugs" }, 6),
      root))
    core.write(root .. "/mini.safetensors", helpers.read(helpers.weights()))
    local chroot = (sh "id -u"):match "^0\n" and "chroot" or "unshare -r chroot"
    local text, ok = sh(("cd %s && %s . /graft run head_only --data data/photos --weights mini.safetensors --epochs 2 --quiet "
      .. "--trust"):format(root, chroot)) -- there is no /proc, by which the sandbox starts
    if not ok and text:find "unshare" then
      skip "no chroot for this user here"
    end
    assert.truthy(ok, text)
    assert.contains("accuracy", text)
    assert.contains("2\n", (sh(("cd %s && printf '1 + 1' | %s . /graft"):format(root, chroot))))
    -- the prompt, though no terminal is described there
    if has "script" then
      local shown = sh(("{ sleep 0.5; printf '20 + 22\\n'; sleep 0.5; printf '\\004'; sleep 0.3; } | TERM=xterm SHELL=/bin/sh "
        .. "script -qec '%s %s /graft' /dev/null"):format(chroot, root))
      assert.matches("42\r?\n", shown)
    end
  end)
end)
