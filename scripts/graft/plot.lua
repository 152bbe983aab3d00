-- Plots: a chart is data, drawn as SVG for a page (plot.svg) or with characters for a terminal (plot.text).
--
--   { title=, x={label=, log=, min=, max=}, y={label=, log=, min=, max=, percent=},
--     series={ {name=, points={ {x, y [, low, high]}, ... }, dashed=, plain=, dots=}, ... }, marks={ {x=, label=}, ... } }
--   { kind="bars", title=, x={label=}, y={label=, min=, max=, percent=}, bars={ {label=, value=, low=, high=}, ... } }
--
-- low and high are the ends of an interval; `percent` means that values are shares of 1; `plain` is a line without markers,
-- `dots` are markers without a line. A point whose y is nil or not finite (or not positive on a logarithmic axis) is a gap in
-- its line. Colours come from the page (plot.css), in light and dark; lines are told apart by dashes and markers too, so that
-- no colour is needed. All text may come from files: it is escaped here.

local markup = require "graft.markup"
local axis = require "graft.axis"

local plot = { ticks = axis.ticks }

local escape, shorten = markup.escape, markup.shorten

-- ---- what a chart holds ----

local function finite(value)
   return type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge
end

-- Whether a value has a place on an axis.
local function placed(value, options)
   return finite(value) and (not options.log or value > 0)
end

-- The runs of neighbouring points without a gap between them: a list of lists of {x, y, low, high}.
local function runs_of(series, x, y)
   local runs, run = {}, nil
   for _, point in ipairs(series.points) do
      if placed(point[1], x) and placed(point[2], y) then
         if not run then
            run = {}
            runs[#runs + 1] = run
         end
         local low, high = point[3], point[4]
         run[#run + 1] = { point[1], point[2], placed(low, y) and low or nil, placed(high, y) and high or nil }
      else
         run = nil
      end
   end
   return runs
end

-- Of a long run, the lowest and the highest point of each of `most` / 2 stretches: what the eye would see of it.
local function thin(run, most)
   if #run <= most then
      return run
   end
   local kept, stretch = {}, 2 * #run / most
   local first = 1
   while first <= #run do
      local last = math.min(#run, math.floor(first + stretch))
      local low, high = first, first
      for i = first, last do
         low = run[i][2] < run[low][2] and i or low
         high = run[i][2] > run[high][2] and i or high
      end
      kept[#kept + 1] = run[math.min(low, high)]
      if low ~= high then
         kept[#kept + 1] = run[math.max(low, high)]
      end
      first = last + 1
   end
   if kept[#kept] ~= run[#run] then
      kept[#kept + 1] = run[#run]
   end
   return kept
end

local LONGEST = 600 -- points of a line that are drawn

-- A chart with its gaps found and its axes chosen. `x_count`, `y_count`: about how many ticks there is room for.
local function prepare(chart, x_count, y_count)
   local x, y = chart.x or {}, chart.y or {}
   local all_x, all_y, whole, series = {}, {}, true, {}
   for i, one in ipairs(chart.series or {}) do
      local runs = runs_of(one, x, y)
      for n, run in ipairs(runs) do
         runs[n] = thin(run, LONGEST)
         for _, point in ipairs(runs[n]) do
            all_x[#all_x + 1] = point[1]
            whole = whole and point[1] % 1 == 0
            for k = 2, 4 do
               all_y[#all_y + 1] = point[k]
            end
         end
      end
      series[i] = { name = one.name or "", runs = runs, dashed = one.dashed, plain = one.plain, dots = one.dots, index = i }
   end
   for _, mark in ipairs(chart.marks or {}) do
      if placed(mark.x, x) and #all_x > 0 then
         all_x[#all_x + 1] = mark.x
      end
   end
   return { title = chart.title, series = series, marks = chart.marks or {}, empty = #all_y == 0,
      x = axis.new(all_x, { log = x.log, min = x.min, max = x.max, label = x.label, percent = x.percent, whole = whole,
         tight = true }, x_count),
      y = axis.new(all_y, { log = y.log, min = y.min, max = y.max, label = y.label, percent = y.percent }, y_count) }
end

-- ---- SVG ----

local FONT = 13 -- pixels
local LETTER = 0.62 * FONT -- as wide as a letter is on average, of a wide sans-serif font

local function width_of(text)
   return LETTER * (utf8.len(text) or #text)
end

-- The colours and dashes that plots take from the page. A page sets --s1 to --s6, --ink, --faint and --grid for its schemes.
plot.css = [[
.plot{display:block;width:100%;height:auto;max-width:560px;font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.plot text{fill:var(--ink)}.plot .t{font-weight:600}.plot .f{fill:var(--faint)}
.plot .g{stroke:var(--grid);stroke-width:1;fill:none}.plot .a{stroke:var(--faint);stroke-width:1;fill:none}
.plot .m{stroke:var(--faint);stroke-width:1;stroke-dasharray:2 3;fill:none}
.plot .l{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.plot .b{stroke:none;opacity:.18}
.plot .w{stroke-width:1.5;fill:none}.plot .bar{stroke:none}.plot .e{stroke:var(--ink);stroke-width:1.5;fill:none}
]]
for i = 1, 6 do
   plot.css = plot.css .. (".plot .s%d{stroke:var(--s%d)}.plot .p%d{fill:var(--s%d);stroke:var(--s%d)}"):format(i, i, i, i, i)
end

local COLOURS = 6
local dashes = { "", "7 4", "2 4", "10 3 2 3" }

-- How a series is drawn: its colour, its dashes, its marker. Where the chart says which lines are dashed, nothing else is.
local function style(chart, series)
   local said = false
   for _, one in ipairs(chart.series) do
      said = said or one.dashed ~= nil
   end
   local dash = said and (series.dashed and dashes[2] or "") or dashes[(series.index - 1) % #dashes + 1]
   return { colour = (series.index - 1) % COLOURS + 1, dash = dash ~= "" and (' stroke-dasharray="%s"'):format(dash) or "",
      marker = (series.index - 1) % 6 + 1 }
end

local function number(value)
   return (("%.1f"):format(value):gsub("%.0$", ""))
end

-- Markers around a point, all about equally large: circle, square, triangle, diamond, cross, bar.
local shapes = {
   function(x, y)
      return ('<circle cx="%s" cy="%s" r="3.2"'):format(number(x), number(y))
   end,
   function(x, y)
      return ('<rect x="%s" y="%s" width="6" height="6"'):format(number(x - 3), number(y - 3))
   end,
   function(x, y)
      return ('<path d="M%s %sl3.8 6.6h-7.6z"'):format(number(x), number(y - 4.2))
   end,
   function(x, y)
      return ('<path d="M%s %sl4 4l-4 4l-4 -4z"'):format(number(x), number(y - 4))
   end,
   function(x, y)
      return ('<path d="M%s %sl6 6m0 -6l-6 6" stroke-width="2"'):format(number(x - 3), number(y - 3))
   end,
   function(x, y)
      return ('<path d="M%s %sv7m-3.5 -3.5h7" stroke-width="2"'):format(number(x), number(y - 3.5))
   end,
}

local function marker(look, x, y, says)
   return ('%s class="p%d">%s'):format(shapes[look.marker](x, y), look.colour, says and ("<title>%s</title>"):format(escape(says))
      or "") .. (look.marker == 1 and "</circle>" or look.marker == 2 and "</rect>" or "</path>")
end

local function text_at(x, y, text, extra)
   return ('<text x="%s" y="%s"%s>%s</text>'):format(number(x), number(y), extra or "", escape(text))
end

local MIDDLE, RIGHT, FAINT = ' text-anchor="middle"', ' text-anchor="end"', ' class="f"'

-- Lines of legend above the plot: names in as many rows as they need. Returns its SVG and its height.
local function legend(chart, left, top, width)
   if #chart.series < 2 and (not chart.series[1] or chart.series[1].name == "") then
      return "", 0
   end
   local out, x, row = {}, 0, 0
   for _, series in ipairs(chart.series) do
      local look = style(chart, series)
      local name = shorten(series.name, math.max(8, math.floor((width - 34) / LETTER)))
      local wide = 34 + width_of(name)
      if x > 0 and x + wide > width then
         x, row = 0, row + 1
      end
      local y = top + 18 * row + 9
      out[#out + 1] = (series.dots and "" or ('<path d="M%s %sh24" class="l s%d"%s/>'):format(number(left + x), number(y),
         look.colour, look.dash)) .. (series.plain and "" or marker(look, left + x + 12, y)) .. text_at(left + x + 29, y + 4.5,
         name)
      x = x + wide + 12
   end
   return table.concat(out), 18 * (row + 1) + 4
end

local function ring(points)
   return "M" .. table.concat(points, "L")
end

-- The band between low and high over neighbours that have both; whiskers where a point has no such neighbour.
local function intervals(run, look, px, py, alone)
   local out, over, under = {}, {}, {}
   local function close()
      if #over > 1 then
         local points = table.move(over, 1, #over, 1, {})
         for i = #under, 1, -1 do
            points[#points + 1] = under[i]
         end
         out[#out + 1] = ('<path d="%sz" class="b p%d"/>'):format(ring(points), look.colour)
      end
      over, under = {}, {}
   end
   for i, point in ipairs(run) do
      local low, high = point[3], point[4]
      if low and high then
         over[#over + 1] = not alone and number(px(point[1])) .. " " .. number(py(high)) or nil
         under[#under + 1] = not alone and number(px(point[1])) .. " " .. number(py(low)) or nil
         local before, after = run[i - 1], run[i + 1]
         if alone or not (before and before[3] and before[4]) and not (after and after[3] and after[4]) then
            out[#out + 1] = ('<path d="M%s %sV%sm-4 0h8M%s %sh8" class="w s%d"/>'):format(number(px(point[1])),
               number(py(high)), number(py(low)), number(px(point[1]) - 4), number(py(high)), look.colour)
         end
      else
         close()
      end
   end
   close()
   return table.concat(out)
end

local MARKERS = 24 -- of a line

-- One line with its band and markers. Points alone between gaps always have a marker.
local function draw_series(chart, series, px, py)
   local look, out, count = style(chart, series), {}, 0
   for _, run in ipairs(series.runs) do
      count = count + #run
   end
   local every = math.max(1, math.ceil(count / MARKERS))
   local bands, lines, points, seen = {}, {}, {}, 0
   for _, run in ipairs(series.runs) do
      bands[#bands + 1] = intervals(run, look, px, py, series.dots)
      local path = {}
      for i, point in ipairs(run) do
         local x, y = px(point[1]), py(point[2])
         path[i] = number(x) .. " " .. number(y)
         if not series.plain and (series.dots or seen % every == 0 or #run == 1) then
            local says = ("%s%s %s: %s%s"):format(series.name ~= "" and series.name .. ", " or "", chart.x.label or "",
               chart.x.tell(point[1]), chart.y.tell(point[2]), point[3] and point[4]
               and (" (%s to %s)"):format(chart.y.tell(point[3]), chart.y.tell(point[4])) or "")
            points[#points + 1] = marker(look, x, y, says)
         end
         seen = seen + 1
      end
      if #run > 1 and not series.dots then
         lines[#lines + 1] = ring(path)
      end
   end
   out[1] = table.concat(bands)
   if #lines > 0 then
      out[2] = ('<path d="%s" class="l s%d"%s/>'):format(table.concat(lines), look.colour, look.dash)
   end
   return table.concat(out) .. table.concat(points)
end

-- Labels of marks stand in rows above the plot, so that they cover neither lines nor one another.
local function place_marks(chart, px, left, right)
   local rows, placed_marks = {}, {}
   for _, mark in ipairs(chart.marks) do
      if placed(mark.x, chart.x) and mark.x >= chart.x.low and mark.x <= chart.x.high then
         local x, label = px(mark.x), shorten(mark.label or "", 32)
         local half = width_of(label) / 2
         local centre = math.max(left + half, math.min(right - half, x))
         local row = 1
         while rows[row] and rows[row] > centre - half do
            row = row + 1
         end
         rows[row] = centre + half + 8
         placed_marks[#placed_marks + 1] = { x = x, centre = centre, row = row, label = label }
      end
   end
   return placed_marks, #rows
end

local function frame(width, height, chart, body)
   return ('<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>'):format(
      width, math.ceil(height), escape(chart.title or "plot"), table.concat(body))
end

-- The ticks of a vertical axis and their grid lines.
local function draw_y(chart, body, left, right, py)
   for _, tick in ipairs(chart.y.ticks) do
      local y = py(tick.value)
      body[#body + 1] = ('<path d="M%s %sH%s" class="g"/>'):format(number(left), number(y), number(right))
         .. text_at(left - 6, y + 4.5, tick.text, RIGHT .. FAINT)
   end
end

local function draw_x(chart, body, top, bottom, px)
   local free = -math.huge
   for _, tick in ipairs(chart.x.ticks) do
      local x, half = px(tick.value), width_of(tick.text) / 2
      body[#body + 1] = ('<path d="M%s %sv4" class="a"/>'):format(number(x), number(bottom))
      if x - half >= free then
         body[#body + 1] = text_at(x, bottom + 18, tick.text, MIDDLE .. FAINT)
         free = x + half + 6
      end
   end
   body[#body + 1] = ('<path d="M%s %sH%s" class="a"/>'):format(number(px(chart.x.low)), number(bottom), number(px(chart.x.high)))
end

local function svg_lines(source, width, height)
   local chart = prepare(source, width // 70, height // 55)
   local body, left, right = {}, 12, width - 14
   for _, tick in ipairs(chart.y.ticks) do
      left = math.max(left, 12 + width_of(tick.text))
   end
   local last = chart.x.ticks[#chart.x.ticks]
   right = last and math.min(right, width - 2 - width_of(last.text) / 2) or right
   local top = 4
   if chart.title then
      body[#body + 1] = text_at(4, top + 13, shorten(chart.title, width // (LETTER * 1.08) // 1 | 0), ' class="t"')
      top = top + 22
   end
   local names, tall = legend(chart, 4, top, width - 8)
   body[#body + 1], top = names, top + tall
   if chart.y.label then
      body[#body + 1] = text_at(4, top + 13, shorten(chart.y.label, width // LETTER | 0), FAINT)
      top = top + 18
   end
   local function px(value)
      return left + (right - left) * chart.x.at(value)
   end
   local marks, rows = place_marks(chart, px, left, right)
   top = top + 16 * rows + 10
   local bottom = math.max(height - (chart.x.label and 42 or 24), top + 80)
   local function py(value)
      return bottom - (bottom - top) * chart.y.at(value)
   end
   if chart.empty then
      body[#body + 1] = text_at((left + right) / 2, (top + bottom) / 2, "nothing was measured", MIDDLE .. FAINT)
   else
      draw_y(chart, body, left, right, py)
      draw_x(chart, body, top, bottom, px)
   end
   for _, mark in ipairs(marks) do
      body[#body + 1] = ('<path d="M%s %sV%s" class="m"/>'):format(number(mark.x), number(top - 2), number(bottom))
         .. text_at(mark.centre, top - 16 * (mark.row - 1) - 6, mark.label, MIDDLE .. FAINT)
   end
   for _, series in ipairs(chart.series) do
      body[#body + 1] = draw_series(chart, series, px, py)
   end
   if chart.x.label then
      body[#body + 1] = text_at((left + right) / 2, bottom + 37, shorten(chart.x.label, (right - left) // LETTER | 0),
         MIDDLE .. FAINT)
   end
   return frame(width, bottom + (chart.x.label and 42 or 24), chart, body)
end

-- The axis and the rows of a bar chart: bars start at 0, or at the axis' own minimum.
local function prepare_bars(chart, count)
   local options, values, rows = chart.y or {}, { 0 }, {}
   for _, bar in ipairs(chart.bars) do
      for _, value in ipairs { bar.value or 0, bar.low or bar.value or 0, bar.high or bar.value or 0 } do
         values[#values + 1] = finite(value) and value or nil
      end
      rows[#rows + 1] = { label = bar.label or "", value = finite(bar.value) and bar.value or nil,
         low = finite(bar.low) and bar.low or nil, high = finite(bar.high) and bar.high or nil }
   end
   return { title = chart.title, label = chart.x and chart.x.label, rows = rows, y = axis.new(values, { min = options.min,
      max = options.max, label = options.label, percent = options.percent }, count) }
end

local function tell_bar(chart, bar)
   return bar.value and chart.y.tell(bar.value) .. (bar.low and bar.high and (" (%s–%s)"):format((chart.y.tell(bar.low)
      :gsub(" %%$", "")), chart.y.tell(bar.high)) or "") or "not measured"
end

local function svg_bars(source, width)
   local chart = prepare_bars(source, width // 90)
   local body, top, widest, told = {}, 4, 0, 0
   for _, bar in ipairs(chart.rows) do
      bar.name = shorten(bar.label, math.max(8, math.floor(width * 0.34 / LETTER)))
      bar.told = tell_bar(chart, bar)
      widest, told = math.max(widest, width_of(bar.name)), math.max(told, width_of(bar.told))
   end
   local left, right = widest + 14, width - told - 14
   if chart.title then
      body[#body + 1] = text_at(4, top + 13, shorten(chart.title, width // (LETTER * 1.08) // 1 | 0), ' class="t"')
      top = top + 24
   end
   if chart.label then
      body[#body + 1] = text_at(4, top + 13, chart.label, FAINT)
      top = top + 20
   end
   local bottom = top + 24 * #chart.rows + 4
   local function px(value)
      return left + (right - left) * math.max(0, math.min(1, chart.y.at(value)))
   end
   local free = -math.huge
   for _, tick in ipairs(chart.y.ticks) do
      local x, half = px(tick.value), width_of(tick.text) / 2
      body[#body + 1] = ('<path d="M%s %sV%s" class="g"/>'):format(number(x), number(top), number(bottom))
      if x - half >= free then
         body[#body + 1] = text_at(x, bottom + 16, tick.text, MIDDLE .. FAINT)
         free = x + half + 6
      end
   end
   local zero = px(math.max(chart.y.low, math.min(chart.y.high, 0)))
   for i, bar in ipairs(chart.rows) do
      local y = top + 24 * (i - 1) + 5
      body[#body + 1] = text_at(left - 8, y + 13, bar.name, RIGHT)
      if bar.value then
         local x = px(bar.value)
         body[#body + 1] = ('<rect x="%s" y="%s" width="%s" height="16" class="bar p1"/>'):format(number(math.min(x, zero)),
            number(y), number(math.abs(x - zero)))
      end
      if bar.low and bar.high then
         body[#body + 1] = ('<path d="M%s %sH%sM%s %sv8M%s %sv8" class="e"/>'):format(number(px(bar.low)), number(y + 8),
            number(px(bar.high)), number(px(bar.low)), number(y + 4), number(px(bar.high)), number(y + 4))
      end
      body[#body + 1] = text_at(right + 8, y + 13, bar.told, FAINT)
   end
   if chart.y.label then
      body[#body + 1] = text_at((left + right) / 2, bottom + 34, chart.y.label, MIDDLE .. FAINT)
   end
   return frame(width, bottom + (chart.y.label and 40 or 22), chart, body)
end

-- plot.svg(chart [, {width=, height=}]) -> the text of an <svg>. Its size is in units of the view box: the page scales it to
-- the room that there is. Bar charts are as high as their bars need.
function plot.svg(chart, size)
   local width, height = size and size.width or 480, size and size.height or 300
   return chart.kind == "bars" and svg_bars(chart, width) or svg_lines(chart, width, height)
end

-- ---- a terminal ----

-- A canvas of dots, two columns and four rows of them in each character (Unicode's Braille patterns).
local bits = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }

local function new_canvas(columns, rows)
   local cells, over = {}, {}
   for i = 1, columns * rows do
      cells[i] = 0
   end
   local canvas = {}
   function canvas.dot(x, y) -- from the top left, from 0
      if x >= 0 and x < 2 * columns and y >= 0 and y < 4 * rows then
         local at = y // 4 * columns + x // 2 + 1
         cells[at] = cells[at] | bits[y % 4 + 1][x % 2 + 1]
      end
   end
   function canvas.line(x0, y0, x1, y1)
      local steps = math.max(math.abs(x1 - x0), math.abs(y1 - y0), 1)
      for i = 0, steps do
         canvas.dot(math.floor(x0 + (x1 - x0) * i / steps + 0.5), math.floor(y0 + (y1 - y0) * i / steps + 0.5))
      end
   end
   function canvas.put(x, y, glyph)
      if x >= 0 and x < 2 * columns and y >= 0 and y < 4 * rows then
         over[y // 4 * columns + x // 2 + 1] = glyph
      end
   end
   function canvas.row(n)
      local line = {}
      for i = 1, columns do
         local at = (n - 1) * columns + i
         line[i] = over[at] or (cells[at] > 0 and utf8.char(0x2800 + cells[at]) or " ")
      end
      return table.concat(line)
   end
   return canvas
end

local glyphs = { "●", "■", "▲", "◆", "×", "+" }

local function pad(text, width, right)
   local gap = (" "):rep(math.max(0, width - (utf8.len(text) or #text)))
   return right and gap .. text or text .. gap
end

-- Texts {centre=, text=} in one line of `width` columns; what would touch its neighbour is left out.
local function labels_line(list, width)
   local line, used = {}, 0
   for _, label in ipairs(list) do
      local length = utf8.len(label.text) or #label.text
      local first = math.max(0, math.min(width - length, math.floor(label.centre - length / 2 + 0.5)))
      if first >= used + (used > 0 and 1 or 0) then
         line[#line + 1] = (" "):rep(first - used) .. label.text
         used = first + length
      end
   end
   return table.concat(line)
end

local function text_lines(source, columns, rows)
   local chart = prepare(source, columns // 14, rows // 3)
   local lines, gutter = {}, 0
   if chart.title then
      lines[1] = shorten(chart.title, columns)
   end
   if chart.empty then
      lines[#lines + 1] = "nothing was measured"
      return lines
   end
   for _, tick in ipairs(chart.y.ticks) do
      gutter = math.max(gutter, utf8.len(tick.text))
   end
   local wide = math.max(10, columns - gutter - 2)
   local canvas = new_canvas(wide, rows)
   local function px(value)
      return math.floor(chart.x.at(value) * (2 * wide - 1) + 0.5)
   end
   local function py(value)
      return math.floor((1 - chart.y.at(value)) * (4 * rows - 1) + 0.5)
   end
   for _, mark in ipairs(chart.marks) do
      if placed(mark.x, chart.x) and mark.x >= chart.x.low and mark.x <= chart.x.high then
         for y = 0, 4 * rows - 1, 2 do
            canvas.dot(px(mark.x), y)
         end
      end
   end
   for _, series in ipairs(chart.series) do
      local glyph, seen = glyphs[(series.index - 1) % #glyphs + 1], -math.huge
      for _, run in ipairs(series.runs) do
         for i, point in ipairs(run) do
            local x, y = px(point[1]), py(point[2])
            if i > 1 and not series.dots then
               canvas.line(px(run[i - 1][1]), py(run[i - 1][2]), x, y)
            end
            if not series.plain and (series.dots or x - seen >= 12 or #run == 1) then -- a marker in every sixth column at most
               canvas.put(x, y, glyph)
               seen = x
            end
         end
      end
   end
   if chart.y.label then
      lines[#lines + 1] = shorten(chart.y.label, columns)
   end
   local beside = {}
   for _, tick in ipairs(chart.y.ticks) do
      beside[py(tick.value) // 4 + 1] = tick.text
   end
   for n = 1, rows do
      local line = pad(beside[n] or "", gutter, true) .. " " .. (beside[n] and "┤" or "│") .. canvas.row(n)
      lines[#lines + 1] = line:gsub("%s+$", "")
   end
   local rule, under = {}, {}
   for i = 1, wide do
      rule[i] = "─"
   end
   for _, tick in ipairs(chart.x.ticks) do
      local at = px(tick.value) // 2
      rule[at + 1] = "┬"
      under[#under + 1] = { centre = gutter + 2 + at + 0.5, text = tick.text }
   end
   lines[#lines + 1] = (" "):rep(gutter + 1) .. "└" .. table.concat(rule)
   lines[#lines + 1] = labels_line(under, gutter + 2 + wide)
   if chart.x.label then
      lines[#lines + 1] = labels_line({ { centre = gutter + 2 + wide / 2, text = shorten(chart.x.label, wide) } }, columns)
   end
   return lines, chart
end

-- Below the plot: what each marker stands for, and what the vertical dotted lines are.
local function text_legend(lines, chart, columns)
   local words = {}
   for _, series in ipairs(#chart.series > 1 and chart.series or {}) do
      words[#words + 1] = glyphs[(series.index - 1) % #glyphs + 1] .. " " .. shorten(series.name, columns - 2)
   end
   for _, mark in ipairs(chart.marks) do
      if placed(mark.x, chart.x) then
         words[#words + 1] = shorten(("┊ %s at %s"):format(mark.label or "mark", chart.x.tell(mark.x)), columns)
      end
   end
   local line = ""
   for _, word in ipairs(words) do
      if line ~= "" and (utf8.len(line) or #line) + 3 + (utf8.len(word) or #word) > columns then
         lines[#lines + 1], line = line, word
      else
         line = line == "" and word or line .. "   " .. word
      end
   end
   lines[#lines + 1] = line ~= "" and line or nil
end

local eighths = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

local function text_bars(source, columns)
   local chart = prepare_bars(source, 5)
   local lines, widest, told = {}, 0, 0
   lines[1] = chart.title and shorten(chart.title, columns) or nil
   for _, bar in ipairs(chart.rows) do
      bar.name, bar.told = shorten(bar.label, columns // 3), tell_bar(chart, bar)
      widest, told = math.max(widest, utf8.len(bar.name) or #bar.name), math.max(told, utf8.len(bar.told))
   end
   local room = math.max(8, columns - widest - told - 4)
   if chart.label or chart.y.label then
      lines[#lines + 1] = shorten(table.concat({ chart.label, chart.y.label }, ", "), columns)
   end
   for _, bar in ipairs(chart.rows) do
      local share = bar.value and math.max(0, math.min(1, chart.y.at(bar.value))) or 0
      local parts = math.floor(share * room * 8 + 0.5)
      local drawn = ("█"):rep(parts // 8) .. (parts % 8 > 0 and eighths[parts % 8] or "")
      lines[#lines + 1] = ("%s  %s  %s"):format(pad(bar.name, widest), pad(drawn, room), bar.told)
   end
   return lines
end

-- plot.text(chart [, {columns=80, rows=16}]) -> one text of several lines, without a line end at its end. `rows` are those of
-- the plot itself; title, axes and legend come on top.
function plot.text(chart, size)
   local columns, rows = size and size.columns or 80, size and size.rows or 16
   if chart.kind == "bars" then
      return table.concat(text_bars(chart, columns), "\n")
   end
   local lines, prepared = text_lines(chart, columns, rows)
   if prepared then
      text_legend(lines, prepared, columns)
   end
   return table.concat(lines, "\n")
end

return plot
