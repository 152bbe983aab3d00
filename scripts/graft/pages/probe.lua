-- The page of a probe: accuracy by depth and by number of photos.

local format = require "graft.format"
local page = require "graft.page"
local plot = require "graft.plot"
local probes = require "graft.probe"

return function(p)
   local probe = probes.details(p)
   local head, rows = { "depth", "features" }, {}
   for _, fraction in ipairs(probe.fractions) do
      head[#head + 1] = ("%g %%"):format(100 * fraction)
   end
   head[#head + 1] = "95 % interval"
   for i, depth in ipairs(probe.depths) do
      local row = { depth.layer .. (depth.layer == probe.best and "  (best)" or ""), format.count(depth.features) }
      for _, fraction in ipairs(probe.fractions) do
         row[#row + 1] = ("%.3f"):format(probe.accuracy[fraction][i])
      end
      row[#row + 1] = ("%.3f-%.3f"):format(depth.low, depth.high)
      rows[i] = row
   end
   local by_depth, by_photos = probes.chart(probe), probes.curve_chart(probe)
   local html = { page.paragraph("A linear classifier was fitted to what the network, as it is, makes of the photos at each "
      .. "depth, and judged on photos that were held out in turn. The higher a depth stands, the more of what tells the classes "
      .. "apart is there already, without any training."), plot.svg(by_depth),
      page.table { head = head, align = "ll" .. ("r"):rep(#head - 2), rows = rows } }
   return {
      title = "What the network already sees",
      subtitle = ("%s, %s, %d folds; %s"):format(format.plural(probe.count, "photo"), format.plural(#probe.classes, "class",
         "classes"), probe.folds, format.seconds(probe.seconds)),
      sections = { { id = "depth", title = "Accuracy by depth", html = table.concat(html, "\n") },
         { id = "photos", title = "Accuracy by number of photos", html = page.paragraph("A line that still rises at its right "
            .. "end says that more photos would help; one that has flattened says that they would not.")
            .. plot.svg(by_photos) } },
      text = tostring(p) .. "\n\n" .. plot.text(by_depth) .. "\n",
   }
end
