-- The page of a study: verdict, rule, table, and the curves of the arms against photos seen and against time.

local page = require "graft.page"
local plot = require "graft.plot"
local studies = require "graft.study"
local verdict = require "graft.study_verdict"

local headings = { pretrained_better = "Pretraining is better", equal = "No difference",
   only_faster = "Pretraining is only faster", not_converged = "Not decided: not converged" }

-- The accuracy of an arm at its largest budget, epoch by epoch.
local function line(name, arm, by_time, dashed)
   local last = arm[#arm]
   local accuracy, seconds, points = arm.curve, studies.mean_curve(last.records, 2), {}
   local photos = last.records[1][2].photos
   for epoch, value in ipairs(accuracy) do
      points[epoch] = { by_time and seconds[epoch] or epoch * photos, value }
   end
   return { name = name, points = points, dashed = dashed }
end

local function charts(group)
   local html = {}
   for _, by_time in ipairs { false, true } do
      local list = {}
      for i, key in ipairs { "a", "b" } do
         if #group[key] > 0 then
            list[#list + 1] = line(group.names[i], group[key], by_time, i == 2)
         end
      end
      html[#html + 1] = plot.svg { title = (group.where ~= "" and group.where .. ", " or "") .. (by_time and "against time"
         or "against photos seen"), x = { label = by_time and "seconds" or "photos seen", log = true },
         y = { label = "validation accuracy", percent = true }, series = list }
   end
   return '<div class="grid">' .. table.concat(html, "\n") .. "</div>"
end

return function(s)
   local d = studies.details(s)
   local rows, align = studies.table_of(d.job, d.done)
   local head = table.remove(rows, 1)
   local why = {}
   for i, group in ipairs(d.groups) do
      why[i] = page.paragraph(group.verdict .. ": " .. group.why)
   end
   local sections = {
      { id = "verdict", title = headings[s.verdict], html = (#why > 0 and table.concat(why, "\n") or page.paragraph(s.why))
         .. page.paragraph(verdict.rule, "faint") },
      { id = "arms", title = "Arms", html = page.table { head = head, align = align, rows = rows }
         .. page.paragraph("+- is the standard deviation over the seeds. Each value of what is tuned was tried once on every "
            .. "arm, with the first seed: the same effort for all.", "faint") },
   }
   for i, group in ipairs(d.groups) do
      sections[#sections + 1] = { id = "curves-" .. i, title = "Curves" .. (group.where ~= "" and ": " .. group.where or ""),
         html = charts(group) .. page.paragraph("Means over the seeds, at the largest budget that was tried.", "faint") }
   end
   return { title = "Study", subtitle = ("%d trials in %s"):format(#s.rows, require("graft.format").seconds(s.seconds)),
      sections = sections, text = tostring(s) .. "\n" }
end
