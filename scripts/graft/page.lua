-- The frame of an HTML page: one file that needs nothing else. It loads nothing from a network and runs no script, whatever
-- the texts in it say: a content security policy forbids both, and page.escape leaves no tag to them.

local core = require "graft.core"
local markup = require "graft.markup"
local plot = require "graft.plot"

local page = { escape = markup.escape, shorten = markup.shorten }

local escape = markup.escape

local style = [[
:root{color-scheme:light dark;--ink:#1c2127;--faint:#57606a;--paper:#fff;--card:#f6f8fa;--grid:#dde2e7;--link:#0550ae;
--good:26,127,55;--bad:191,54,12;--s1:#0b62b8;--s2:#c2410c;--s3:#0a7a52;--s4:#9b3d92;--s5:#7a5c00;--s6:#3f4d5c}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--faint:#a3adb8;--paper:#14181d;--card:#1d232a;--grid:#333c46;
--link:#7cb7ff;--good:63,185,80;--bad:255,123,84;--s1:#6cb2ff;--s2:#ff9a62;--s3:#4fd1a1;--s4:#e59be0;--s5:#e3c04d;--s6:#b6c2cf}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:68rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;padding-top:.75rem;
border-top:1px solid var(--grid)}h3{font-size:1rem;margin:1.25rem 0 .25rem}p{margin:.5rem 0;max-width:46rem}
a{color:var(--link)}.sub,.faint{color:var(--faint)}nav{margin:.75rem 0}nav a{margin-right:1rem;white-space:nowrap}
code,pre{font:.875em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--card);border:1px solid var(--grid);border-radius:6px;padding:.6rem .75rem;overflow-x:auto;
white-space:pre-wrap;overflow-wrap:anywhere}
.wide{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0;font-size:.94em}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--grid);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--faint);font-size:.9em}.r{text-align:right}.c{text-align:center}
td.r,th.r{white-space:nowrap}th{vertical-align:bottom}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem 2rem;align-items:start}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem}
.rows{grid-template-columns:repeat(var(--n),minmax(0,12rem))}.pairs{grid-template-columns:repeat(auto-fill,minmax(15rem,1fr))}
figure{margin:0}figcaption{font-size:.85rem;line-height:1.35;margin-top:.3rem}
.dots{image-rendering:pixelated}.pair .dots{height:6.5rem}img{max-width:100%;height:auto;border-radius:4px;background:var(--card)}
.pair{display:flex;gap:4px;align-items:flex-start}.pair img{min-width:0;flex:0 1 auto;max-height:9.5rem;width:auto}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.25rem;margin:.75rem 0}
.facts dt{color:var(--faint)}.facts dd{margin:0;min-width:0}
.up{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}.big{font-size:2rem;font-weight:600;line-height:1.1}
summary{cursor:pointer;color:var(--link)}details{margin:.5rem 0}
@media (max-width:34rem){
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:.6rem}table{font-size:.85em}th,td{padding:.3rem .4rem}
.photos{grid-template-columns:repeat(2,1fr)}.pairs{grid-template-columns:1fr}
.rows{grid-template-columns:repeat(var(--few),minmax(0,1fr));gap:.5rem}}
@media print{:root{color-scheme:light;--ink:#000;--faint:#444;--paper:#fff;--card:#f4f4f4;--grid:#ccc;--link:#000;
--good:26,127,55;--bad:191,54,12;--s1:#0b62b8;--s2:#c2410c;--s3:#0a7a52;--s4:#9b3d92;--s5:#7a5c00;--s6:#3f4d5c}
body{max-width:none;padding:0;font-size:10.5pt}nav{display:none}h2,h3{break-after:avoid}
figure,.plot,tr,pre,.facts{break-inside:avoid}.plot{max-width:10cm}.grid{grid-template-columns:1fr 1fr;gap:.5rem 1rem}
.wide{overflow:visible}table{font-size:.8em}th,td{padding:.25rem .45rem}thead{display:table-header-group}
.pairs{grid-template-columns:repeat(3,1fr);gap:.75rem}.pair img{max-height:2.7cm}section>img{max-height:12cm;width:auto}
h2+p,h3+p{break-after:avoid}p,section:has(>img){break-inside:avoid}
details::details-content{content-visibility:visible;display:block}summary{list-style:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}@page{margin:15mm}}
]]

-- page.html{ title=, subtitle=, sections={ {id=, title=, html=}, ... } } -> the text of the page. The titles are text; `html`
-- is what page and plot made.
function page.html(content)
   local links, parts = {}, {}
   for i, section in ipairs(content.sections) do
      local id = (section.id or "part-" .. i):gsub("[^%w%-]", "-")
      links[i] = ('<a href="#%s">%s</a>'):format(id, escape(section.title))
      parts[i] = ('<section>\n<h2 id="%s">%s</h2>\n%s\n</section>\n'):format(id, escape(section.title), section.html)
   end
   return table.concat {
      '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
      '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src \'unsafe-inline\'; ',
      "base-uri 'none'; form-action 'none'\">\n",
      '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n',
      ('<meta name="generator" content="Graft %s">\n'):format(escape(core.version)),
      ("<title>%s</title>\n"):format(escape(content.title)),
      "<style>\n", style, plot.css, "</style>\n</head>\n<body>\n<header>\n",
      ("<h1>%s</h1>\n"):format(escape(content.title)),
      content.subtitle and ('<p class="sub">%s</p>\n'):format(escape(content.subtitle)) or "",
      "</header>\n", #links > 1 and ("<nav>%s</nav>\n"):format(table.concat(links, "\n")) or "", "<main>\n",
      table.concat(parts), "</main>\n</body>\n</html>\n" }
end

local letters = { l = "", r = ' class="r"', c = ' class="c"' }

-- A cell: text, or {html=, style=} of what is markup already.
local function cell(tag, value, align)
   local given = type(value) == "table" and value or { html = escape(value == nil and "" or value) }
   return ("<%s%s%s>%s</%s>"):format(tag, letters[align] or "", given.style and (' style="%s"'):format(escape(given.style))
      or "", given.html, tag)
end

local function row_of(tag, cells, align, count)
   local out = {}
   for i = 1, count do
      out[i] = cell(tag, cells[i], align:sub(i, i))
   end
   return "<tr>" .. table.concat(out) .. "</tr>"
end

-- page.table{ head={text, ...}, align="lrr", rows={ {cell, ...}, ... } } -> html. A cell is text, or {html=, style=}. On a
-- phone a wide table scrolls by itself.
function page.table(content)
   local align, count, rows = content.align or "", #(content.head or {}), {}
   for _, row in ipairs(content.rows) do
      count = math.max(count, #row)
   end
   for i, row in ipairs(content.rows) do
      rows[i] = row_of("td", row, align, count)
   end
   return ('<div class="wide"><table>%s<tbody>%s</tbody></table></div>'):format(content.head and "<thead>"
      .. row_of("th", content.head, align, count) .. "</thead>" or "", table.concat(rows, "\n"))
end

-- Names and what they are: page.facts{ {name, cell}, ... }; pairs without a value are left out.
function page.facts(list)
   local out = {}
   for _, fact in ipairs(list) do
      local value = fact[2]
      if value then
         out[#out + 1] = ("<dt>%s</dt><dd>%s</dd>"):format(escape(fact[1]), type(value) == "table" and value.html
            or escape(value))
      end
   end
   return ('<dl class="facts">%s</dl>'):format(table.concat(out, "\n"))
end

function page.paragraph(text, class)
   return ("<p%s>%s</p>"):format(class and (' class="%s"'):format(class) or "", escape(text))
end

-- page.image(tensor or file, {width=160, alt=, quality=76}) -> <img> with the picture inside, its longer side `width` pixels at
-- most. One of less than half of that is shown in larger pixels. A file that cannot be read raises.
function page.image(image, options)
   options = options or {}
   local most = options.width or 160
   local bytes, width, height = core.image_encode(image, "jpeg", most, options.quality or 76)
   local times = math.max(1, most // math.max(width, height))
   return ('<img%s width="%d" height="%d" alt="%s" src="data:image/jpeg;base64,%s">'):format(times > 1 and ' class="dots"' or "",
      times * width, times * height, escape(options.alt or ""), core.base64(bytes))
end

return page
