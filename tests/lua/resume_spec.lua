-- A run that was killed at any moment goes on to the same final bits: weights, optimiser state, metrics, lock and files. Here
-- every few changes of its folder are moments to die at, each file half written among them; tests/soak/resume.lua takes
-- them all, and random moments.
local helpers = require "helpers"
local resumes = require "resumes"

local MOMENTS = 14 -- for each number of threads

describe("--resume after kill -9", function()
  for threads = 1, 2 do
    it(("at a change of the run folder gives the same bits, threads %d"):format(threads), function()
      if not resumes.library() then
        skip "nothing can be preloaded: no C compiler, or a sanitizer"
      end
      local whole, changes = resumes.whole(threads)
      assert.is_true((changes or 0) > 60, "changes: " .. tostring(changes))
      local died = 0
      for i = 1, MOMENTS do
        local n = 1 + (i - 1) * (changes - 2) // (MOMENTS - 1) + threads - 1
        local torn = helpers.fresh "torn"
        died = died + (resumes.killed_at(torn, threads, n) and 1 or 0)
        resumes.finish(whole, torn, threads, ("killed at change %d of %d"):format(n, changes))
      end
      assert.is_true(died > MOMENTS // 2)
    end)
  end
  it("again and again, also while it resumes", function()
    if not resumes.library() then
      skip "nothing can be preloaded: no C compiler, or a sanitizer"
    end
    local whole, torn = resumes.whole(2), helpers.fresh "torn"
    for _, n in ipairs { 9, 17, 5, 30, 2, 41, 13, 60 } do
      resumes.killed_at(torn, 2, n, "--resume")
    end
    resumes.finish(whole, torn, 2, "killed eight times")
  end)
end)

describe("--resume", function()
  it("of a finished run changes nothing", function()
    local whole, out = resumes.whole(1), helpers.fresh "again"
    helpers.done(resumes.words(out, 1))
    resumes.finish(whole, out, 1, "finished")
  end)
  it("tells what is not as it was, with 3, and leaves the folder as it is", function()
    local out = helpers.fresh "other"
    helpers.done(resumes.words(out, 1))
    local function state()
      return helpers.shell(("cd '%s'; find . -type f -print0 | sort -z | xargs -0 sha256sum"):format(out))
    end
    local before = state()
    local words = resumes.words(out, 1, "--resume")
    words[#words + 1], words[#words + 2] = "--epochs", "4"
    local result = helpers.refused(words, 3, { "cannot be resumed", "what differs" })
    assert.matches("%-%-epochs +3 +4", result.err)
    words[#words] = "3"
    words[#words + 1], words[#words + 2] = "--seed", "5"
    assert.matches("%-%-seed +1 +5", helpers.refused(words, 3, "cannot be resumed").err)
    local text = helpers.read(resumes.recipe)
    local edited = helpers.recipe(text .. "\n-- another line\n", "edited.lua")
    assert.matches("recipe +sha256", helpers.refused({ "run", edited, "--out", out, "--resume", "--threads", "1" }, 3,
      "by another recipe").err)
    assert.equal(before, state())
  end)
  it("with other threads goes on, and says that the bits may be others", function()
    local out = helpers.fresh "threads"
    helpers.done(resumes.words(out, 1))
    local result = helpers.done { "run", resumes.recipe, "--out", out, "--threads", "2", "--resume" }
    assert.contains("goes on with threads 2 after 1", result.err)
  end)
  it("keeps a loss to the last bit: the same loss again is no better one", function()
    local recipe = helpers.recipe(([[
      local graft = require "graft"
      local d = graft.data.folder(%q, { val = 0.25 })
      local net = graft.load(%q):replace_head(d):freeze "body"
      local hard = graft.nn.cross_entropy {}
      local run = graft.fit(net, d, { epochs = 4, batch_size = 6, monitor = "val_loss", optimizer = graft.sgd { lr = 0.1 },
        loss = function(logits, y)
          return 0.1 + 0.7, select(2, hard(logits, y))
        end,
        on_epoch = function()
          local till = os.clock() + 0.05
          repeat until os.clock() >= till
        end })
      print(run.best.epoch, ("%%.17g"):format(run.best.val_loss))
    ]]):format(helpers.path "photos", helpers.weights()))
    local whole, torn = helpers.fresh "whole", helpers.fresh "torn"
    local text = helpers.done({ "run", recipe, "--out", whole }).out
    local loss = tonumber(text:match "^1\t(%S+)\n")
    assert.is_true(tonumber(("%.15g"):format(loss)) > loss, "fifteen digits would make it worse")
    assert.equal(137, helpers.interrupted({ "run", recipe, "--out", torn }, { after = "epoch 2/4" }).status)
    assert.equal(text, helpers.done({ "run", recipe, "--out", torn, "--resume" }).out)
  end)
end)
