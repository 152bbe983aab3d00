-- Kills runs at every change of their folder and at random moments, resumes them, and compares each end with that of a run
-- that was left alone, bit for bit. From the top of the source:
--
--    N=50 lua5.4 tests/soak/resume.lua        N moments of either kind for 1 and for 2 threads; exit status 1 when one failed
package.cpath = (os.getenv "GRAFT_BUILD" or "build") .. "/?.so;" .. package.cpath
package.path = "tests/lua/?.lua;" .. package.path
local helpers = require "helpers"
local resumes = require "resumes"
local core = require "graft.core"
local format = require "graft.format"

local N = math.tointeger(tonumber(os.getenv "N" or "50")) or 50
local failures = {}

-- Kills and resumes with one of the two methods below; returns a row of the table.
local function soak(what, threads, whole, kill)
  local died, same, started = 0, 0, core.clock()
  for i = 1, N do
    local torn = helpers.fresh "torn"
    local ok, message = pcall(function()
      local note
      died, note = died + (kill(torn, i) and 1 or 0), ("%s, moment %d of %d, threads %d"):format(what, i, N, threads)
      resumes.finish(whole, torn, threads, note)
    end)
    if ok then
      same = same + 1
    else
      failures[#failures + 1] = tostring(message)
      io.stderr:write(tostring(message), "\n")
    end
  end
  return { what, tostring(threads), tostring(N), tostring(died), ("%d of %d"):format(same, N),
    format.seconds(core.clock() - started) }
end

local rows = { { "killed", "threads", "moments", "died", "same bits after --resume", "took" } }
for threads = 1, 2 do
  local started = core.clock()
  local whole, changes = resumes.whole(threads)
  local length = core.clock() - started
  if changes then
    rows[#rows + 1] = soak("at a change of its folder", threads, whole, function(torn, i)
      return resumes.killed_at(torn, threads, 1 + (i - 1) * (changes - 1) // math.max(1, N - 1))
    end)
  end
  rows[#rows + 1] = soak("at a random moment, twice", threads, whole, function(torn)
    local died = false
    for _ = 1, 2 do
      local result = helpers.interrupted(resumes.words(torn, threads, "--resume"), { delay = math.random() * length * 0.6 })
      died = died or result.status == 137
    end
    return died
  end)
end
print(format.columns(rows, "lrrrll"))
os.exit(#failures == 0, true)
