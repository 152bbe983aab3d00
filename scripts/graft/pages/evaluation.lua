-- Parts of pages that tell how good a network is: the result in a line, the confusion matrix, classes, calibration, photos.

local core = require "graft.core"
local format = require "graft.format"
local looking = require "graft.looking"
local montage = require "graft.montage"
local network = require "graft.network"
local page = require "graft.page"
local plot = require "graft.plot"

local parts = {}

local escape, shorten = page.escape, page.shorten

-- "0.87–0.96"
local function interval_text(right, count)
   if count < 1 then
      return "-"
   end
   local low, high = format.interval(right, count)
   return ("%.2f–%.2f"):format(low, high)
end

local INTERVALS = "An interval says how far chance alone could have moved a share: with other photos of the same kind it "
   .. "would lie within its 95 % interval 19 times out of 20 (Wilson's method). Few photos make wide intervals; two shares whose "
   .. "intervals overlap much may well be equal."

-- The most frequent class and its share: what somebody would get who always said that.
function parts.baseline(result)
   local most, name = 0, nil
   for _, class in ipairs(result.classes) do
      if class.support > most then
         most, name = class.support, class.name
      end
   end
   return name, name and most / result.count
end

-- The numbers at the top. `of`: what kind of photos these are.
function parts.headline(result, of)
   local lines = { ('<p><span class="big">%.1f %%</span> '):format(100 * result.accuracy) }
   if result.map then
      lines[2] = ("of all labels right on %s %s, at a probability of 0.5; mean average precision %.3f, mean F1 %.3f.</p>"):format(
         format.plural(result.count, "photo"), of, result.map, result.f1)
      return table.concat(lines)
   end
   local name, share = parts.baseline(result)
   lines[2] = ("right on %s %s (%s of them; 95 %% interval %s).%s%s</p>"):format(format.plural(result.count, "photo"), of,
      format.count(result.right), interval_text(result.right, result.count),
      name and (" Always saying “%s” would be right on %.1f %%."):format(escape(name), 100 * share) or "",
      result.top5 and #result.classes > 5 and (" The right class is among the five most likely on %.1f %%."):format(
         100 * result.top5) or "")
   return table.concat(lines)
end

-- Each classifier and its accuracy, as rows of a table.
function parts.heads(result)
   local rows = {}
   for i, head in ipairs(result.heads) do
      rows[i] = { head.layer == "head" and "main" or "at " .. head.layer, ("%.3f"):format(head.accuracy) }
   end
   return rows
end

-- ---- the confusion matrix ----

local MATRIX = 25 -- classes; with more, only what is confused is listed
local PAIRS = 20

local function confused(result)
   local pairs_of = {}
   for i, row in ipairs(result.confusion) do
      for j, count in ipairs(row) do
         if i ~= j and count > 0 then
            pairs_of[#pairs_of + 1] = { i = i, j = j, count = count, order = #pairs_of }
         end
      end
   end
   table.sort(pairs_of, function(a, b)
      return a.count > b.count or a.count == b.count and a.order < b.order
   end)
   return pairs_of
end

local function pair_table(result)
   local rows, all = {}, confused(result)
   for i = 1, math.min(#all, PAIRS) do
      local pair = all[i]
      local class = result.classes[pair.i]
      rows[i] = { class.name, result.classes[pair.j].name, format.count(pair.count),
         ("%.0f %%"):format(100 * pair.count / math.max(1, class.support)) }
   end
   if #rows == 0 then
      return page.paragraph "No photo was taken for another class."
   end
   return page.paragraph(("What was confused most often, %d of %s pairs of classes."):format(#rows, format.count(#all)))
      .. page.table { head = { "is", "was taken for", "photos", "of the class" }, align = "llrr", rows = rows }
end

-- A cell whose background tells its share of the row.
local function shaded(count, support, right)
   local share = support > 0 and count / support or 0
   return { html = count > 0 and format.count(count) or '<span class="faint">·</span>',
      style = count > 0 and ("background:rgba(var(--%s),%.2f)"):format(right and "good" or "bad", 0.08 + 0.5 * share) or nil }
end

local function matrix(result)
   local letters = 0
   for _, class in ipairs(result.classes) do
      letters = letters + math.min(18, #class.name) + 2
   end
   local upright, head, rows = letters > 32, { "is ↓ said →" }, {} -- wider than a phone
   for i, class in ipairs(result.classes) do
      local name = escape(shorten(class.name, 18))
      head[i + 1] = { html = upright and ('<span class="up">%s</span>'):format(name) or name }
      local cells = { { html = ("<b>%s</b>"):format(escape(shorten(class.name, 28))) } }
      for j, count in ipairs(result.confusion[i]) do
         cells[j + 1] = shaded(count, class.support, i == j)
      end
      cells[#cells + 1] = { html = ('<span class="faint">%s</span>'):format(format.count(class.support)) }
      rows[i] = cells
   end
   head[#head + 1] = "all"
   return page.table { head = head, align = "l" .. ("r"):rep(#result.classes + 1), rows = rows }
end

function parts.confusion(result)
   if #result.confusion == 0 then
      return nil
   end
   local text = "Each row is what photos are, each column what the network said of them. Right answers lie on the diagonal; "
      .. "every number beside it is a kind of mistake, the darker the larger its part of the row."
   return { id = "confusion", title = "What was taken for what", html = #result.classes <= MATRIX
      and page.paragraph(text) .. matrix(result) or pair_table(result) }
end

-- ---- classes ----

local FOLD = 40 -- classes that are shown at once

local function class_rows(result)
   local said, rows = {}, {}
   for _, row in ipairs(result.confusion) do
      for j, count in ipairs(row) do
         said[j] = (said[j] or 0) + count
      end
   end
   for i, class in ipairs(result.classes) do
      local cells = { shorten(class.name, 48) }
      local hit = result.confusion[i] and result.confusion[i][i]
      for _, share in ipairs { { class.recall, class.support }, { class.precision, said[i] or 0 } } do
         cells[#cells + 1] = share[2] == 0 and hit and "-" or ("%.3f"):format(share[1])
         if hit then
            cells[#cells + 1] = interval_text(hit, share[2])
         end
      end
      if class.average_precision then
         cells[#cells + 1] = class.support > 0 and ("%.3f"):format(class.average_precision) or "-"
      end
      cells[#cells + 1] = format.count(class.support)
      rows[i] = cells
   end
   return rows
end

function parts.classes(result)
   local several = #result.confusion == 0
   local rows = class_rows(result)
   local head = several and { "label", "recall", "precision", "average precision", "photos" }
      or { "class", "recall", "interval", "precision", "interval", "photos" }
   local align = several and "lrrrr" or "lrrrrr"
   local text = ("Recall: of the photos of a %s, the share that the network found. Precision: of the photos that it called "
      .. "so, the share that is. "
      .. ""):format(several and "label" or "class") .. (several and "Average precision: how well the photos with "
      .. "the label are ranked before those without, at whatever probability one cuts; 1 is perfect." or INTERVALS)
   local html = page.paragraph(text)
   if #rows <= FOLD then
      html = html .. page.table { head = head, align = align, rows = rows }
   else
      html = html .. page.table { head = head, align = align, rows = table.move(rows, 1, FOLD, 1, {}) }
         .. ("<details><summary>%s more</summary>%s</details>"):format(format.count(#rows - FOLD),
            page.table { head = head, align = align, rows = table.move(rows, FOLD + 1, #rows, 1, {}) })
   end
   return { id = "classes", title = several and "Labels" or "Classes", html = html }
end

-- ---- calibration ----

local function known(value)
   return value ~= nil and value ~= core.null and value or nil
end

function parts.calibration(result)
   local calibration, several = result.calibration, #result.confusion == 0
   local error = known(calibration.error)
   if not error then
      return nil
   end
   local points, rows = {}, {}
   for _, bin in ipairs(calibration.bins) do
      if bin.count > 0 then
         local right = math.floor(bin.accuracy * bin.count + 0.5)
         local low, high = format.interval(right, bin.count)
         points[#points + 1] = { bin.confidence, bin.accuracy, low, high }
         rows[#rows + 1] = { ("%.0f–%.0f %%"):format(100 * bin.low, 100 * bin.high), format.count(bin.count),
            ("%.1f %%"):format(100 * bin.confidence), ("%.1f %%"):format(100 * bin.accuracy), interval_text(right, bin.count) }
      end
   end
   local chart = { title = "How sure, and how often right", x = { label = several and "probability that it gave"
      or "how sure the network was", percent = true, min = 0, max = 1 }, y = { label = several and "how often photos had "
         .. "the label"
      or "how often it was right", percent = true, min = 0, max = 1 }, series = {
      { name = "as it should be", points = { { 0, 0 }, { 1, 1 } }, dashed = true, plain = true },
      { name = "measured, with 95 % interval", points = points, dots = true } } }
   local text = ("Expected calibration error %.3f: how sure the network is and how often it is right differ by %.1f points of a "
      .. "hundred on average (0 would be perfect)."):format(error, 100 * error)
   local more = several and "Predictions are sorted into 15 equal steps by the probability that they gave a label. On the "
      .. "dashed line a label given with 80 % is there 80 times out of 100."
      or "Photos are sorted into 15 equal steps by the probability of the class that was said. On the dashed line the network is "
      .. "right on 80 of 100 photos that it is 80 % sure of; below it, it is too sure of itself, and its probabilities "
      .. "should not be taken at their word."
   return { id = "calibration", title = "Can its probabilities be believed?", html = page.paragraph(text)
      .. page.paragraph(more, "faint") .. plot.svg(chart) .. "<details><summary>the numbers</summary>" .. page.table {
      head = { "step", several and "labels" or "photos", "mean probability", several and "had it" or "right", "interval" },
      align = "lrrrr", rows = rows } .. "</details>" }
end

-- ---- photos ----

local SIDE = 160 -- pixels of a thumbnail
local FIRST_SIDE = 384 -- pixels of a photo in memory: enough for the network and for the thumbnail
local MOST_AT_ONCE = 4 -- photos that are looked at

-- How many photos the network can be asked about at once. The page of a run takes no more memory than the run did, and nothing
-- in the sandbox, where a recipe ends at its limit of memory, more than was taken before. 0: none.
local function room_for(source)
   local memory = core.memory()
   local free = (source.at_once or core.guest) and memory.peak - memory.live or math.huge
   local handle = network.handle(source.net, "graft.report")
   local largest = 0
   for _, row in ipairs(handle:layers()) do
      local numbers = 1
      for _, n in ipairs(row.shape) do
         numbers = numbers * n
      end
      largest = math.max(largest, numbers)
   end
   -- weights as the kernels want them, an input, an output and what lies between, and the photo itself
   local weights, photo = 4 * handle:parameters(), 3 * 4 * largest + 3 * 4 * 3 * FIRST_SIDE * FIRST_SIDE
   return math.max(0, math.min(MOST_AT_ONCE, (free / 1.25 - weights) // photo))
end

-- Where in each photo the network saw what it said of it, laid over it; nothing where the network has no maps to look at.
local function explain(photos, pixels, net)
   local over, images, classes, places = {}, {}, {}, {}
   for i, photo in ipairs(photos) do
      if pixels[i] then
         images[#images + 1], classes[#classes + 1], places[#places + 1] = pixels[i], photo.said or photo.class, i
      end
   end
   local ok = #images == 0 or pcall(function()
      for n, map in ipairs((looking.grad_cam(net, images, { class = classes }))) do
         over[places[n]] = montage.overlay(images[n], map, { net = net })
      end
   end)
   return ok and over or {}, ok
end

local function percent(p)
   return p > 0.9995 and p < 1 and "> 99.9 %" or p < 0.0005 and p > 0 and "< 0.1 %" or ("%.1f %%"):format(100 * p)
end

local function caption(photo)
   local name = photo.file:match("[^/]*$")
   local lines = { ('<b title="%s">%s</b>'):format(escape(photo.file), escape(shorten(name ~= "" and name or photo.file, 19))) }
   if photo.said then
      lines[2] = ("is <b>%s</b> %s"):format(escape(shorten(photo.class, 40)), percent(photo.p))
      lines[3] = photo.said == photo.class and ("said so; only %s ahead"):format(percent(photo.margin))
         or ("said <b>%s</b> %s"):format(escape(shorten(photo.said, 40)), percent(photo.p_said))
   else
      lines[2] = ("%s <b>%s</b>, said with %s"):format(photo.given and "has" or "has no", escape(shorten(photo.class, 40)),
         percent(photo.p))
      lines[3] = photo.wrong > 0 and ("%s wrong"):format(format.plural(photo.wrong, "label")) or "all labels right"
   end
   return table.concat(lines, "<br>")
end

-- A few photos as figures. `look`: whether to ask the network about them.
local function figures_of(photos, source, look)
   local pixels, over, ok, figures = {}, {}, true, {}
   for i, photo in ipairs(photos) do
      local read, image = pcall(source.set.photo, source.set, photo.file, FIRST_SIDE)
      pixels[i] = read and image or false
   end
   if look then
      over, ok = explain(photos, pixels, source.net)
   end
   for i, photo in ipairs(photos) do
      local images = pixels[i] and page.image(pixels[i], { width = SIDE, alt = photo.file }) or ""
      if over[i] then
         images = images .. page.image(over[i], { width = SIDE, alt = "where the network looked" })
      end
      figures[i] = ('<figure>%s<figcaption>%s</figcaption></figure>'):format(images ~= "" and '<div class="pair">' .. images
         .. "</div>" or "", caption(photo))
   end
   return figures, ok and next(over) ~= nil
end

-- Photos with what was said of them, as long as there is time: a page must not keep anybody waiting. The first photo that the
-- network is asked about tells how long the others take. `seen` collects whether it was asked, and whether time ran out.
local function gallery(photos, source, ends, seen)
   local all, first, any = {}, 1, false
   local room = source and source.set and source.net and room_for(source) or 0
   local at_once = math.min(room, 1)
   while first <= #photos do
      local started = core.clock()
      local late = started > ends
      local last = math.min(#photos, first + math.max(at_once, 1) - 1)
      local part, looked = table.move(photos, first, last, 1, {}), false
      local figures = {}
      if source and source.set and not late then
         figures, looked = figures_of(part, source, at_once > 0)
      else
         seen.late = seen.late or late and source ~= nil
         for i, photo in ipairs(part) do
            figures[i] = ("<figure><figcaption>%s</figcaption></figure>"):format(caption(photo))
         end
      end
      table.move(figures, 1, #figures, #all + 1, all)
      any = any or looked
      local each = (core.clock() - started) / #part
      at_once = looked and math.min(room, source.at_once or room, math.floor((ends - core.clock()) / math.max(each, 1e-4))) or 0
      first = last + 1
   end
   seen.why = seen.why or any
   return ('<div class="photos%s">%s</div>'):format(any and " pairs" or "", table.concat(all, "\n"))
end

-- `chosen`: what chapters.select gave; `source`: {set=, net=} that they come from, as far as it is still there.
function parts.photos(chosen, source, seconds)
   local html, seen, ends = {}, {}, core.clock() + (seconds or 1)
   if #chosen.mistakes > 0 then
      local mistakes = gallery(chosen.mistakes, source, ends, seen)
      html[#html + 1] = ("<h3>Worst mistakes</h3>%s%s"):format(page.paragraph(("%d of %s: those of which the network was "
         .. "surest. Look whether the photo is hard, or its label wrong."):format(#chosen.mistakes, format.plural(chosen.wrong,
         "wrong photo"))), mistakes)
   else
      html[#html + 1] = page.paragraph "There is no mistake among these photos."
   end
   if #chosen.unsure > 0 then
      html[#html + 1] = "<h3>Least sure</h3>" .. page.paragraph((chosen.unsure[1].said and "Where the two most likely "
         .. "answers were nearest to each "
         .. "other." or "Where a probability was nearest to 0.5.") .. " More photos like these teach the network "
         .. "most.") .. gallery(chosen.unsure, source, ends + (seconds or 1) / 2, seen)
   end
   if seen.why then
      table.insert(html, 1, page.paragraph("Beside a photo: what in it spoke for the answer that was given, the brighter "
         .. "the more "
         .. "(Grad-CAM). Bright spots in the background are a warning: the network may have learnt the place, not the "
         .. "thing.", "faint"))
   end
   if seen.late then
      html[#html + 1] = page.paragraph("Some photos are left out, since a page should not keep a training waiting; graft "
         .. "eval with --report shows them.", "faint")
   end
   return { id = "photos", title = "Photos to look at", html = table.concat(html, "\n") }
end

-- All of them, of a result.
function parts.all(result, chosen, source, seconds)
   local sections = {}
   for _, section in ipairs { parts.confusion(result) or false, parts.classes(result), parts.calibration(result) or false,
      chosen and parts.photos(chosen, source, seconds) or false } do
      sections[#sections + 1] = section or nil
   end
   return sections
end

return parts
