-- Plots, and the pages that graft.fit, graft.report and graft eval --report write.
local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"
local axis = require "graft.axis"
local page = require "graft.page"
local plot = require "graft.plot"

-- Whether a long text holds each of these pieces; a page is too long for a message.
local function tells(text, ...)
  for _, piece in ipairs { ... } do
    assert.truthy(text:find(piece, 1, true), "is missing: " .. piece)
  end
end

local function raises(kind, pattern, fn)
  local failure = assert.error_matches(fn, pattern)
  assert.equal(kind, failure.kind)
end

-- Raises unless every tag is closed by its own kind, attributes are quoted, and entities are known ones.
local void = { meta = true, img = true, link = true, br = true }

local function check_tags(html)
  local open = {}
  html = html:gsub("^<!DOCTYPE html>\n", ""):gsub("<style>.-</style>", "")
  for text, tag in html:gmatch "([^<]*)(<[^>]*>)" do
    assert.falsy(text:find ">", "a bare > in: " .. text:sub(1, 200))
    for entity in text:gmatch "&[^;%s]*;?" do
      assert.truthy(entity:find "^&[a-z]+;$" or entity:find "^&#%d+;$", "a bare &: " .. entity)
    end
    local close, name, rest = tag:match "^<(/?)([%a%d]+)(.-)/?>$"
    assert.truthy(name, "no tag: " .. tag)
    local left = rest:gsub('%s+[%a%-:]+="[^"]*"', "")
    assert.truthy(left:find "^%s*$", "attributes: " .. tag)
    if close == "/" then
      assert.equal(open[#open], name)
      open[#open] = nil
    elseif not void[name] and tag:sub(-2) ~= "/>" then
      open[#open + 1] = name
    end
  end
  assert.equal(0, #open)
end

-- A page that is well-formed, needs nothing from elsewhere and runs nothing.
local function check_page(html)
  assert.truthy(html:find("<!DOCTYPE html>", 1, true) == 1)
  check_tags(html)
  tells(html, "default-src 'none'")
  tells(html:match "@media print(.*)</style>", "details::details-content{content-visibility:visible", "h3+p{break-after:avoid}")
  assert.falsy(html:lower():find "<script")
  assert.falsy(html:find "[\0-\8\11-\31\127]", "a control character")
  for tag in html:gmatch "<[^>]*>" do
    assert.falsy(tag:gsub('"[^"]*"', '""'):lower():find "%son%a+%s*=", tag)
    for _, name in ipairs { "href", "src" } do
      local value = tag:match(name .. '="([^"]*)"')
      assert.truthy(value == nil or value:find "^#" or value:find "^data:image/jpeg;base64,", tag:sub(1, 200))
    end
  end
  local addresses = html:gsub('xmlns="http://www%.w3%.org/2000/svg"', "")
  assert.falsy(addresses:find "https?://")
  assert.is_true(#html < 500000, #html .. " bytes")
end

local function values(ticks)
  local texts = {}
  for i, tick in ipairs(ticks) do
    texts[i] = tick.text
  end
  return table.concat(texts, " ")
end

local function count(text, piece)
  return select(2, text:gsub(piece, ""))
end

describe("an axis", function()
  it("has ticks at 1, 2 and 5 times powers of ten", function()
    assert.near({ 0, 0.2, 0.4, 0.6, 0.8, 1 }, (axis.ticks(0, 1, 5)))
    assert.equal("0.00 0.05 0.10 0.15 0.20", values(axis.new({ 0.01, 0.19 }, {}, 5).ticks))
    assert.equal("0 5,000 10,000 15,000", values(axis.new({ 0, 12345 }, {}, 4).ticks))
    assert.equal("-1.0 -0.5 0.0 0.5 1.0", values(axis.new({ -1, 0.9 }, {}, 4).ticks))
    assert.equal("0 2×10⁻⁵ 4×10⁻⁵ 6×10⁻⁵ 8×10⁻⁵ 10⁻⁴", values(axis.new({ 0, 1e-4 }, {}, 5).ticks))
  end)

  it("counts whole things in whole steps", function()
    assert.equal("1 2 3", values(axis.new({ 1, 2, 3 }, { whole = true, tight = true }, 8).ticks))
    assert.equal("0 1 2", values(axis.new({ 1 }, { whole = true, tight = true }, 6).ticks))
  end)

  it("tells shares as percent and does not go beyond all of them", function()
    local share = axis.new({ 0.55, 0.93, 0.99 }, { percent = true }, 5)
    assert.equal("50 % 60 % 70 % 80 % 90 % 100 %", values(share.ticks))
    assert.equal(1, share.high)
    share = axis.new({ 1, 1 }, { percent = true }, 4)
    assert.is_true(share.low < 1 and share.high > 1 - 1e-9 and share.at(1) <= 1)
    assert.equal("97.5 %", share.tell(0.975))
  end)

  it("is logarithmic where asked", function()
    local rates = axis.new({ 1e-6, 10 }, { log = true, tight = true }, 8)
    assert.equal("10⁻⁶ 10⁻⁵ 10⁻⁴ 0.001 0.01 0.1 1 10", values(rates.ticks))
    assert.is_true(math.abs(rates.at(1e-6)) < 1e-9 and math.abs(rates.at(10) - 1) < 1e-9)
    assert.equal("100 200 500 1,000", values(axis.new({ 100, 1000 }, { log = true, tight = true }, 6).ticks))
  end)

  it("has an extent where the values have none", function()
    for _, case in ipairs { { { 0.3, 0.3 }, {} }, { { 0 }, {} }, { {}, {} }, { { 5 }, { log = true } }, { {}, { log = true } },
      { { 1 }, { min = 1, max = 1 } } } do
      local one = axis.new(case[1], case[2], 5)
      assert.is_true(one.low < one.high and #one.ticks >= 2, values(one.ticks))
      local at = one.at(case[1][1] or one.low)
      assert.is_true(at >= 0 and at <= 1)
    end
  end)
end)

local function curve(points, extra)
  local chart = { title = "A <b>title</b>", x = { label = "epoch" }, y = { label = 'loss & "more"' },
    series = { { name = "a", points = points } } }
  for key, value in pairs(extra or {}) do
    chart[key] = value
  end
  return chart
end

describe("a plot", function()
  it("is one svg with axes, labels and a line", function()
    local svg = plot.svg(curve { { 1, 0.9 }, { 2, 0.5 }, { 3, 0.4 } })
    check_tags(svg)
    tells(svg, 'viewBox="0 0 480 300"')
    tells(svg, ">epoch</text>")
    tells(svg, "loss &amp; &quot;more&quot;")
    tells(svg, "A &lt;b&gt;title")
    assert.equal(1, count(svg, 'class="l s1" ?/>') - 1) -- and one in the legend
    tells(svg, "<title>a, epoch 2: 0.5</title>")
  end)

  it("leaves a gap where a number is missing, not finite or not positive on a logarithmic axis", function()
    local nan = 0 / 0
    local points = { { 1, 3 }, { 2, 2 }, { 3, nan }, { 4, 2 }, { 5, 1 }, { 6, math.huge }, { 7, 5 }, { 8 }, { 9, -1 }, { 10, 1 } }
    local svg = plot.svg(curve(points, { y = { log = true } }))
    local line = svg:match '<path d="(M[^"]*L[^"]*)" class="l s1"/>'
    assert.equal(2, count(line, "M"))
    assert.equal(6 + 1, count(svg, "<circle")) -- the points alone between gaps too, and the legend's
    assert.falsy(svg:find "nan" or svg:find "inf")
  end)

  it("draws what has no extent", function()
    for _, points in ipairs { { { 1, 0.5 } }, { { 1, 0.5 }, { 2, 0.5 } }, {}, { { 1, 0 / 0 } }, { { 1, 0 } } } do
      local svg, text = plot.svg(curve(points)), plot.text(curve(points))
      check_tags(svg)
      assert.falsy((svg .. text):find "nan" or (svg .. text):find "inf")
      local measured = points[1] and points[1][2] == points[1][2]
      assert.equal(not measured, svg:find "nothing was measured" ~= nil)
      assert.equal(not measured, text:find "nothing was measured" ~= nil)
    end
  end)

  it("bands neighbours that have intervals, and whiskers what stands alone", function()
    local svg = plot.svg(curve { { 1, 0.5, 0.4, 0.6 }, { 2, 0.6, 0.5, 0.7 }, { 3, 0.6 }, { 4, 0.5, 0.4, 0.6 } })
    assert.equal(1, count(svg, 'class="b p1"'))
    assert.equal(1, count(svg, 'class="w s1"'))
  end)

  it("tells lines apart without colours", function()
    local series = {}
    for i = 1, 4 do
      series[i] = { name = "line " .. i, points = { { 1, i }, { 2, i + 1 } } }
    end
    local svg = plot.svg { series = series }
    for _, dash in ipairs { "7 4", "2 4", "10 3 2 3" } do
      tells(svg, ('stroke-dasharray="%s"'):format(dash))
    end
    series[2].dashed = true
    svg = plot.svg { series = series }
    assert.equal(2, count(svg, "stroke%-dasharray")) -- the line and its place in the legend
  end)

  it("keeps the extremes of a line with very many points, and little else", function()
    local points = {}
    for i = 1, 100000 do
      points[i] = { i, i == 54321 and 9 or math.sin(i / 5000) }
    end
    local svg = plot.svg(curve(points))
    assert.is_true(#svg < 30000)
    local top = math.huge
    for y in svg:match('<path d="(M[^"]*L[^"]*)" class="l'):gmatch " ([%d.]+)" do
      top = math.min(top, tonumber(y))
    end
    assert.is_true(top < 100)
  end)

  it("has marks whose labels do not cover one another", function()
    local svg = plot.svg(curve({ { 1, 1 }, { 100, 2 } }, { marks = { { x = 50, label = "the first mark" },
      { x = 51, label = "the second" }, { x = 99, label = "at the edge" }, { x = 1000, label = "widens" } } }))
    local heights = {}
    for y, label in svg:gmatch '<text x="[%d.]+" y="([%d.]+)"[^>]*>([^<]*)</text>' do
      heights[label] = tonumber(y)
    end
    assert.is_true(heights["the first mark"] ~= heights["the second"])
    assert.truthy(heights.widens)
  end)

  it("shows bars with intervals, and says where there is no number", function()
    local chart = { kind = "bars", title = "Recall", y = { percent = true, min = 0, max = 1 }, bars = {
      { label = "ants", value = 0.9, low = 0.8, high = 0.95 }, { label = "<b>" .. ("x"):rep(90), value = 0 / 0 } } }
    local svg = plot.svg(chart)
    check_tags(svg)
    assert.equal(1, count(svg, "<rect"))
    tells(svg, "90 % (80–95 %)")
    tells(svg, "not measured")
    local text = plot.text(chart)
    tells(text, "90 % (80–95 %)")
    tells(text, "██████")
  end)

  it("fits a terminal, with axes and a legend", function()
    local chart = curve({ { 1, 0.9 }, { 50, 0.5 }, { 100, 0.45 } }, { marks = { { x = 50, label = "here" } } })
    chart.series[2] = { name = ("long"):rep(40), points = { { 1, 0.8 }, { 100, 0.2 } } }
    for _, columns in ipairs { 80, 40 } do
      local text = plot.text(chart, { columns = columns, rows = 10 })
      local lines = 0
      for line in text:gmatch "[^\n]+" do
        lines = lines + 1
        assert.is_true(utf8.len(line) <= columns, line)
        assert.falsy(line:find "%s$")
      end
      assert.is_true(lines >= 15)
      for _, piece in ipairs { "┤", "└", "┬", "epoch", "● a", "■ long", "┊ here at 50" } do
        tells(text, piece)
      end
    end
  end)
end)

describe("a page", function()
  it("escapes all text", function()
    local hostile = '<script>alert("1")</script>\27[31m & \'\xff'
    local html = page.html { title = hostile, subtitle = hostile, sections = { { id = hostile, title = hostile,
      html = page.table { head = { hostile }, rows = { { hostile } } } .. page.facts { { hostile, hostile } }
      .. page.paragraph(hostile)
      .. plot.svg { title = hostile, x = { label = hostile }, y = { label = hostile }, marks = { { x = 1, label = hostile } },
        series = { { name = hostile, points = { { 1, 1 }, { 2, 2 } } } } } } } }
    check_page(html)
    tells(html, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\\x1b[31m &amp; &#39;\\xff")
  end)

  it("shortens names in the middle, by characters", function()
    assert.equal("abc", page.shorten("abc", 3))
    assert.equal("ab…ef", page.shorten("abcdef", 5))
    assert.equal("ää…äb", page.shorten(("ä"):rep(9) .. "b", 5))
  end)

  it("holds pictures as data", function()
    local photo = helpers.photo("bowls", 1, 64)
    local html = page.image(photo, { width = 40, alt = '"><b>' })
    local bytes = html:match 'src="data:image/jpeg;base64,([%w+/=]+)"'
    assert.truthy(bytes)
    tells(html, 'width="40"')
    tells(html, 'alt="&quot;&gt;&lt;b&gt;"')
    local decoded = helpers.path "decoded.jpg"
    helpers.shell(("printf %%s '%s' | base64 -d > '%s'"):format(bytes, decoded))
    local shape = core.image_load(decoded).shape
    assert.equal(40, math.max(shape[2], shape[3]))
  end)

  it("shows small pictures in larger pixels", function()
    tells(page.image(graft.zeros(3, 28, 20), { width = 160 }), 'class="dots" width="100" height="140"')
  end)

  it("encodes base64 with padding", function()
    for text, code in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foobar = "Zm9vYmFy", ["\0\255"] = "AP8=" } do
      assert.equal(code, core.base64(text))
    end
  end)
end)

-- ---- of a run ----

local evil = '<img src=x onerror=alert(1)>"\'& class'
local photos = helpers.photos("hostile", { evil, "mugs", "plates" }, 8)
os.rename(photos .. "/mugs/1.jpg", photos .. "/mugs/a\27]0;\n<script src=x>.jpg")
helpers.write(photos .. "/mugs/broken.jpg", "\xff\xd8 no photo")
local weights = helpers.weights()

describe("report.html", function()
  local out = helpers.fresh "run"
  local words = { "run", "head_only", "--data", photos, "--weights", weights, "--out", out, "--epochs", "2", "--seed", "7" }
  local result = helpers.done(words)
  local html = helpers.read(out .. "/report.html")

  it("is named by the run's last lines", function()
    assert.contains("page: " .. out .. "/report.html", result.out)
  end)

  it("is a page by itself, whatever files and classes are called", function()
    check_page(html)
    tells(html, "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp; class")
    tells(html, "broken.jpg")
  end)

  it("tells what was trained, how it went and what it cost", function()
     for _, id in ipairs { "result", "plan", "curves", "confusion", "classes", "calibration", "photos", "spent", "skipped",
      "again" } do
      tells(html, ('<h2 id="%s">'):format(id))
    end
    for _, piece in ipairs { "<td>frozen</td>", "<td>trained</td>", "<td>new, random</td>", "<td>↓</td>",
      "The cache saved 1 pass", "Expected calibration error", "95 % interval", "<title>held-out photos, epoch 2:", "sgd lr" } do
      tells(html, piece)
    end
  end)

  it("shows photos", function()
    assert.is_true(count(html, "<img ") >= 3)
  end)

  it("says how to make it again, quoted for a shell", function()
    tells(html, "graft verify " .. out)
    local command = html:match "<pre>(graft run head_only.-)</pre>"
    assert.contains("--epochs 2 --seed 7", command)
    assert.falsy(command:find("--out", 1, true))
    tells(html, helpers.json({ "inspect", out .. "/recipe.lock" }).lock.data[1].sha256)
  end)

  it("is written anew by --resume, and is no part of a pack", function()
    os.remove(out .. "/report.html")
    table.insert(words, "--resume")
    helpers.done(words)
    check_page(helpers.read(out .. "/report.html"))
    assert.falsy(helpers.read(out .. "/report.html"):find("--resume</pre>", 1, true))
    helpers.done { "pack", out, out .. ".graft" }
    for _, part in ipairs(helpers.json({ "inspect", out .. ".graft" }).parts) do
      assert.falsy(part.name:find "html")
    end
  end)

  it("quotes words that a shell would take apart", function()
    local folder = helpers.path "with $(blanks) and 'quotes'"
    helpers.shell(("cp -r '%s' \"$(printf '%%s' '%s')\""):format(photos, (folder:gsub("'", "'\\''"))))
    local other = helpers.fresh "quoted"
    helpers.done { "run", "head_only", "--data", folder, "--weights", weights, "--out", other, "--epochs", "1", "--quiet" }
    local command = helpers.read(other .. "/report.html"):match "<pre>(graft run.-)</pre>"
    command = command:gsub("&#39;", "'"):gsub("&quot;", '"'):gsub("&amp;", "&"):gsub("&lt;", "<"):gsub("&gt;", ">")
    local seen = helpers.shell(("graft() { printf '%%s\\n' \"$@\"; }; %s"):format(command))
    assert.contains("\n" .. folder .. "\n", "\n" .. seen .. "\n")
  end)

  it("has a chapter for each fit, and its classifiers", function()
    local told = helpers.fresh "phases"
    helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local net = graft.load(%q):replace_head(d):freeze "body"
      graft.fit(net, d, { epochs = 1, name = "the <head>" })
      net:unfreeze "layer4":add_aux("layer3", {})
      local run = graft.fit(net, d, { epochs = 2, optimizer = graft.adamw { lr = 0.001 }, augment = "light" })
      graft.report(run, graft.out "own.html")
      graft.report(run, graft.out "own.txt")
      ]]):format(photos, weights)), "--out", told, "--quiet" }
    for _, name in ipairs { "report", "own" } do
      local text = helpers.read(("%s/%s.html"):format(told, name))
      check_page(text)
      for _, piece in ipairs { "the &lt;head&gt;", "phase 2", "classifier at layer3", "adamw lr 0.001", "<td>phase 1</td>",
        "light", "epoch, of all phases" } do
        tells(text, piece)
      end
    end
    tells(helpers.read(told .. "/own.txt"), "precision")
  end)

  it("is there for several labels a photo", function()
    local folder, rows = helpers.photos("several", { "mugs" }, 8), { "file,tags" }
    for i, name in ipairs(core.list(folder .. "/mugs")) do
      rows[#rows + 1] = ("mugs/%s,%s"):format(name, ({ "round|<wide>", "round", "<wide>", "" })[i % 4 + 1])
    end
    helpers.write(folder .. "/tags.csv", table.concat(rows, "\n") .. "\n")
    local told = helpers.fresh "several-run"
    helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.csv(%q, { image = "file", labels = "tags", separator = "|", val = 0.5 })
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 2, monitor = "val_map" })
      ]]):format(folder .. "/tags.csv", weights)), "--out", told, "--quiet" }
    local text = helpers.read(told .. "/report.html")
    check_page(text)
    for _, piece in ipairs { "of all labels right", "average precision", "&lt;wide&gt;", "Ranking of labels", "Can its prob" } do
      tells(text, piece)
    end
    assert.falsy(text:find('id="confusion"', 1, true))
  end)

  it("is there without validation, and after an interruption", function()
    local told = helpers.fresh "unmeasured"
    helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 1, val = false })
      ]]):format(photos, weights)), "--out", told, "--quiet" }
    check_page(helpers.read(told .. "/report.html"))
    tells(helpers.read(told .. "/report.html"), "Nothing was measured")
    told = helpers.fresh "stopped"
    helpers.interrupted({ "run", "head_only", "--data", photos, "--weights", weights, "--out", told, "--epochs", "100000" },
      { after = "/100000", signals = { "INT" } })
    local text = helpers.read(told .. "/report.html")
    check_page(text)
    tells(text, "--resume goes on", "Photos to look at", "Least sure")
  end)

  it("tells of loops of a recipe's own", function()
    local told = helpers.fresh "loop"
    helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local net = graft.load(%q):replace_head(d):freeze "body"
      graft.fit(net, d, { epochs = 1, name = "first" })
      local tr = graft.trainer(net, { optimizer = graft.adamw { lr = 0.002 } })
      for e in tr:epochs(3) do
        for x, y, b in d.train:batches { net = net, batch_size = 8, epoch = e } do tr:step(x, y, b) end
        tr:log { epoch = e, train_loss = 1 / e, val_accuracy = tr:evaluate(d.val).accuracy, note = "<b>" }
      end
      ]]):format(photos, weights)), "--out", told, "--quiet" }
    local text = helpers.read(told .. "/report.html")
    check_page(text)
    tells(text, "a loop of the recipe&#39;s own", "adamw lr 0.002", ">first</h3>", ">phase 2</h3>", "as the recipe logged it",
      "photos to train on, epoch, of all phases 4: 0.333", "graft verify " .. told)
  end)

  it("is no reason for a run to fail", function()
    local told = helpers.fresh "blocked"
    local done = helpers.done { "run", helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local run = graft.fit(graft.load(%q):replace_head(d):freeze "body", d, { epochs = 1, on_epoch = function()
        os.execute("mkdir '" .. graft.out "report.html" .. "'")
      end })
      print(run.page, run)
      ]]):format(photos, weights)), "--out", told, "--trust" }
    assert.contains("report.html was not written", done.err)
    assert.matches("^nil\taccuracy", done.out)
    assert.falsy(done.out:find("page:", 1, true))
  end)

  it("comes from programs that use the module too", function()
    local told = helpers.fresh "module"
    local chunk = helpers.path "module.lua"
    helpers.write(chunk, ([[
      package.cpath = %q .. "/?.so;" .. package.cpath
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local net = graft.load(%q):replace_head(d):freeze "body"
      print(graft.fit(net, d, { epochs = 1, out = %q }).page)
      ]]):format((helpers.program:gsub("/graft$", "")), photos, weights, told))
    local text = helpers.shell(("%s '%s'"):format(os.getenv "LUA" or "lua5.4", chunk))
    tells(text, told .. "/report.html")
    local written = helpers.read(told .. "/report.html")
    check_page(written)
    tells(written, "no command that repeats it")
  end)
end)

describe("the page of real photos", function()
  it("is small, and made in a second or two", function()
    local folder = os.getenv "GRAFT_TEST_DATA"
    if not folder then
      skip "GRAFT_TEST_DATA is not set"
    end
    local d = graft.data.folder(folder .. "/data/hymenoptera")
    local net = graft.load(folder .. "/weights/tiny_darknet.safetensors"):replace_head(d)
    local result = graft.evaluate(net, d.val, { photos = true })
    local started, peak = core.clock(), core.memory().peak
    graft.report(result, helpers.path "real.html")
    assert.is_true(core.clock() - started < 4)
    assert.is_true(core.memory().peak <= peak)
    local html = helpers.read(helpers.path "real.html")
    check_page(html)
    assert.equal(24, count(html, "<figure>"))
    assert.equal(48, count(html, "<img "))
  end)
end)

describe("the page of a result", function()
  local d = graft.data.folder(photos, { val = 0.5 })
  local net = graft.load(weights):replace_head(d)

  it("shows what was said of each photo", function()
    local result = graft.evaluate(net, d.val, { photos = true })
    assert.equal(#d.val, #result.photos)
    local wrong, sure = 0, 0
    for i, photo in ipairs(result.photos) do
      assert.equal(d.val[i].file, photo.file)
      assert.equal(d.val[i].class, photo.class)
      wrong = wrong + (photo.said ~= photo.class and 1 or 0)
      assert.is_true(photo.p_said >= photo.p and photo.margin >= 0 and photo.margin <= photo.p_said)
      raises("name", "said", function()
        return photo.sayd
      end)
      sure = sure + photo.p_said
    end
    assert.equal(result.count - result.right, wrong)
    local total, mean = 0, 0
    for _, bin in ipairs(result.calibration.bins) do
      total, mean = total + bin.count, mean + bin.count * (bin.confidence or 0)
    end
    assert.equal(result.count, total)
    assert.is_true(math.abs(mean - sure) < 1e-4)
    graft.report(result, helpers.path "result.html")
    local html = helpers.read(helpers.path "result.html")
    check_page(html)
    local figures = math.min(12, wrong) + math.min(12, #d.val - math.min(12, wrong))
    assert.equal(figures, count(html, "<figure>"))
    assert.equal(2 * figures, count(html, "<img ")) -- the photo, and where the network looked
    tells(html, "Grad-CAM")
    tells(html, ("%d of %d wrong photos"):format(math.min(12, wrong), wrong))
  end)

  it("shows where a network for grey photos looked", function()
    local grey = graft.nn.network { name = "grey", input = { 1, 16, 16 }, classes = d.classes, head = "fc", stages = { "conv1" },
      build = function(x)
        return x:conv2d("conv1", { out = 4, kernel = 3 }):relu():global_avg_pool():linear("fc", { out = 3 })
      end }
    graft.report(graft.evaluate(grey, d.val, { photos = true }), helpers.path "grey.html")
    local html = helpers.read(helpers.path "grey.html")
    assert.equal(2 * count(html, "<figure>"), count(html, "<img "))
  end)

  it("shows no photo that is not of the set", function()
    local result = graft.evaluate(net, d.val, { photos = true })
    for _, photo in ipairs(result.photos) do
      photo.file = "tests/fixtures/data/plain.png"
    end
    graft.report(result, helpers.path "forged.html")
    assert.falsy(helpers.read(helpers.path "forged.html"):find "<img ")
  end)

  it("takes a result that is wholly right, and says where photos were not noted", function()
    local result = graft.evaluate(net, d.val)
    assert.is_nil(result.photos)
    result.accuracy, result.right, result.loss = 1, result.count, 0
    graft.report(result, helpers.path "right.html")
    local html = helpers.read(helpers.path "right.html")
    check_page(html)
    tells(html, "100.0 %")
    tells(html, "photos = true")
    graft.report(result, helpers.path "right.txt")
    tells(helpers.read(helpers.path "right.txt"), "accuracy  1.000")
    assert.equal(helpers.read(helpers.path "right.txt"), tostring(result) .. "\n")
  end)

  it("refuses what has no page", function()
    for _, subject in ipairs { {}, { accuracy = 1 }, setmetatable({}, { __name = "graft.run" }),
      setmetatable({}, { __name = "graft.page" }) } do
      raises("option", "graft.report", function()
        graft.report(subject, helpers.path "none.html")
      end)
    end
  end)

  it("is written by graft eval, whose document tells the calibration", function()
    local model = helpers.path "model.safetensors"
    net:save(model)
    local html = helpers.path "eval.html"
    local told = helpers.json { "eval", model, photos, "--report", html }
    check_page(helpers.read(html))
    tells(helpers.read(html), "Worst mistakes")
    assert.equal(15, #told.calibration.bins)
    assert.is_true(told.calibration.error >= 0 and told.calibration.error <= 1)
  end)

  it("names many classes without a matrix of all", function()
    local classes = {}
    for i = 1, 30 do
      classes[i] = { name = "class " .. i, precision = 0, recall = 0, support = 2 }
    end
    local confusion = {}
    for i = 1, 30 do
      confusion[i] = {}
      for j = 1, 30 do
        confusion[i][j] = (i % 30 + 1 == j) and 2 or 0
      end
    end
    local result = setmetatable({ accuracy = 0, right = 0, count = 60, loss = 3, top5 = 0.5, classes = classes,
      confusion = confusion, calibration = { error = 0.5, bins = {} } }, { __name = "graft.result" })
    graft.report(result, helpers.path "many.html")
    local html = helpers.read(helpers.path "many.html")
    check_page(html)
    tells(html, "20 of 30 pairs of classes")
  end)
end)
