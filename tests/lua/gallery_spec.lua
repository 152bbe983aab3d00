-- The recipes that come with Graft (scripts/recipes/), each run by its name on real pictures: four kinds of clothes of
-- Fashion-MNIST that models/fashion_six.safetensors, the network that most of them start from, has never seen.
local graft = require "graft"
local core = require "graft.core"
local helpers = require "helpers"

local dataset = "/usr/share/datasets/fashion-mnist"
if not core.stat(dataset) then
  pending "Debian's package dataset-fashion-mnist is not installed"
  return
end

local weights = helpers.shell "pwd" .. "/models/fashion_six.safetensors"
local clothes = helpers.path "clothes"
local classes = { "ankle boot", "coat", "sandal", "shirt" }

-- Pictures as PNG files: 12 a class in train/, 6 in val/.
local function unpack_pictures()
  local all = { "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot" }
  local d = graft.data.idx(dataset, { names = all, classes = classes })
  local wanted, written = { train = 12, val = 6 }, {}
  for x, _, b in d.test:batches { batch_size = 100, size = 28 } do
    for i, class in ipairs(b.classes) do
      for _, part in ipairs { "train", "val" } do
        local folder = ("%s/%s/%s"):format(clothes, part, class)
        written[folder] = written[folder] or 0
        if written[folder] < wanted[part] then
          core.make_folder(folder)
          written[folder] = written[folder] + 1
          local picture = x[i]
          picture = picture.shape[1] == 1 and picture:expand(3, 28, 28):contiguous() or picture
          graft.image.save(picture, ("%s/%d.png"):format(folder, written[folder]))
          break
        end
      end
    end
  end
end
unpack_pictures()

local function run(name, ...)
  local out = helpers.fresh "run"
  return { "run", name, "--data", clothes, "--weights", weights, "--out", out, ... }, out
end

-- Accuracy that a recipe's output tells.
local function accuracy(result)
  return tonumber(result.out:match "accuracy +([01]%.%d+)")
end

describe("every recipe", function()
  it("is listed by graft help recipes, with what it is for", function()
    local text = helpers.done({ "help", "recipes" }).out:gsub("\n    +", " ") -- long lines are wrapped
    for _, name in ipairs { "head_only", "fine_tune", "gradual_unfreeze", "discriminative_rates", "auxiliary_classifiers",
      "custom_loop", "custom_layer", "grid_search", "distill", "csv_multilabel", "embeddings_knn", "demo", "probes",
      "scratch_or_pretrained", "looking_inside" } do
      assert.matches("\n  " .. name .. "  +%u[^\n]+%.\n", text .. "\n")
    end
  end)

  it("says what each of its options means, and shows in its head what it printed on real photos", function()
    for _, name in ipairs(require("graft.recipe").shipped()) do
      local text = core.embedded("recipes/" .. name .. ".lua")
      assert.contains("--    graft run " .. name, text, name)
      local help = helpers.done({ "run", name, "--help" }).out:match "then of every recipe\n(.-)\n  %-%-out "
      help = help:gsub("\n    +", " ")
      for line in help:gmatch "[^\n]+" do
        assert.matches("^  %-%-[%w%-]+ %u+  +%l", line, name .. ": an option without help")
        assert.falsy(line:find "^  %-%-[%w%-]+ %u+  +default", name .. ": an option without help")
      end
      if name ~= "demo" and name ~= "train_fashion" then
        assert.matches("\n%-%- On [^\n]+ photos", text, name)
      end
    end
  end)

  it("can be planned before it is run", function()
    for _, name in ipairs { "gradual_unfreeze", "discriminative_rates", "auxiliary_classifiers", "fine_tune", "grid_search" } do
      local result = helpers.done { "plan", name, "--data", clothes, "--weights", weights }
      assert.contains("trained", result.out, name)
    end
  end)
end)

describe("head_only and fine_tune", function()
  it("teach new classes", function()
    local document = helpers.json((run("head_only", "--epochs", "15", "--lr", "0.1")))
    assert.equal(15, document.epochs)
    assert.equal(document.frozen_digest_before, document.frozen_digest_after)
    assert.is_true(document.best.val_accuracy > 0.6, document.best.val_accuracy)
    local words, out = run("fine_tune", "--head-epochs", "4", "--epochs", "6", "--lr", "0.05", "--augment", "light")
    local result = helpers.done(words)
    assert.is_true(accuracy(result) > 0.6, result.out)
    assert.equal(10, #helpers.csv(out .. "/metrics.csv"))
  end)
end)

describe("gradual_unfreeze", function()
  it("thaws a stage a phase, from the top", function()
    local words, out = run("gradual_unfreeze", "--epochs", "2", "--lr", "0.01")
    local document = helpers.json(words)
    assert.equal(3, #document.fits)
    for i, fit in ipairs(document.fits) do
      assert.equal("top " .. i - 1, fit.name)
      assert.is_true(fit.stopped ~= "done" or fit.epochs == 2 * i)
    end
    local before, after = helpers.tensors(weights), helpers.tensors(out .. "/last.safetensors")
    assert.is_true(before["layer1.0.conv.weight"] == after["layer1.0.conv.weight"], "layer1 was never thawed")
    assert.is_false(before["layer2.0.conv.weight"] == after["layer2.0.conv.weight"])
    assert.is_false(before["layer3.0.conv.weight"] == after["layer3.0.conv.weight"])
  end)
end)

describe("discriminative_rates", function()
  it("gives each stage a fraction of the rate of the one above it", function()
    local result = helpers.done((run("discriminative_rates", "--head-epochs", "3", "--epochs", "3", "--lr", "0.05")))
    for stage, factor in pairs { stem = "x0.0625", layer1 = "x0.125", layer2 = "x0.25", layer3 = "x0.5", fc = "x1" } do
      assert.matches("\n  " .. stage .. " [^\n]*trained  " .. factor:gsub("%.", "%%."), result.out)
    end
    assert.is_true(accuracy(result) > 0.6, result.out)
  end)
end)

describe("auxiliary_classifiers", function()
  it("tells the accuracy at each depth and saves the network without them", function()
    local words, out = run("auxiliary_classifiers", "--epochs", "6", "--hidden", "16")
    local result = helpers.done(words)
    assert.matches("auxiliary +layer1 +accuracy [01]%.%d+, loss %d+%.%d+\nauxiliary +layer2", result.out)
    local without, best = helpers.tensors(out .. "/without_aux.safetensors"), helpers.tensors(out .. "/best.safetensors")
    assert.truthy(best["aux.layer2.fc.weight"])
    assert.is_nil(without["aux.layer2.fc.weight"])
    local rows = helpers.csv(out .. "/metrics.csv")
    assert.is_number(rows[3]["val_accuracy:layer1"])
    assert.is_number(rows[3]["val_accuracy:layer2"])
  end)

  it("says aloud that a part was held out where there is no val/", function()
    local result = helpers.done { "run", "auxiliary_classifiers", "--data", clothes .. "/train", "--weights", weights, "--out",
      helpers.fresh "run", "--epochs", "1", "--depths", "1" }
    assert.contains("val = 0.2", result.err)
  end)

  it("says so once, whatever part is taken of the photos", function()
    local values, result = helpers.told_by([[
local opt = graft.options { data = { type = "folder" } }
local part = graft.data.folder(opt.data):take { per_class = 3, seed = 1 }
print(("train %d"):format(#part.train))]], { "--data", clothes .. "/train" })
    assert.is_number(values.train)
    assert.equal(1, select(2, result.err:gsub("is held out", "")))
  end)
end)

describe("custom_loop", function()
  it("trains with a loss of its own, logs, keeps the best and resumes", function()
    local words, out = run("custom_loop", "--epochs", "4", "--batch-size", "16", "--lr", "0.05")
    local result = helpers.done(words)
    assert.contains("epoch 4/4", result.err)
    local rows = helpers.csv(out .. "/metrics.csv")
    assert.equal(4, #rows)
    assert.is_true(rows[4].train_loss < rows[1].train_loss)
    assert.truthy(core.stat(out .. "/best.safetensors"))
    words[#words + 1] = "--resume"
    helpers.done(words)
    assert.equal(4, #helpers.csv(out .. "/metrics.csv"))
  end)
end)

describe("custom_layer", function()
  it("trains a network of its own with a layer in Lua from scratch", function()
    local out = helpers.fresh "run"
    local result = helpers.done { "run", "custom_layer", "--data", clothes, "--size", "28", "--epochs", "12", "--out", out }
    assert.contains("mini_resnet", result.out)
    assert.is_true(accuracy(result) > 0.4, result.out)
    assert.truthy(helpers.tensors(out .. "/best.safetensors")["layer1.act1.beta"])
    helpers.refused({ "predict", out .. "/best.safetensors", clothes .. "/val/coat/1.png" }, 1, "learnt_swish")
  end)
end)

describe("grid_search", function()
  it("tries every combination and saves the best", function()
    local words, out = run("grid_search", "--epochs", "3", "--rates", "0.001 0.1", "--decays", "0 0.01")
    local result = helpers.done(words)
    local shown, best = 0, nil
    for rate, decay, value, mark in result.out:gmatch "\n +([%d.]+) +([%d.]+) +([%d.]+) +[%d.]+( ?[ %l]*)" do
      shown = shown + 1
      best = mark:find "best" and { tonumber(rate), tonumber(decay), tonumber(value) } or best
      assert.is_true(tonumber(value) <= 1)
    end
    assert.equal(4, shown)
    assert.contains(("chosen: rate %g, weight decay %g"):format(best[1], best[2]), result.out)
    assert.contains("There is no folder test/", result.out)
    assert.truthy(core.stat(out .. "/chosen.safetensors"))
    helpers.refused((run("grid_search", "--rates", "fast")), 1, '"fast" is no number')
  end)
end)

describe("distill", function()
  local teacher = helpers.fresh "teacher"
  helpers.done { "run", "head_only", "--data", clothes, "--weights", weights, "--out", teacher, "--epochs", "8", "--lr", "0.1" }

  it("teaches a pretrained student what the teacher says", function()
    local words = run("distill", "--teacher", teacher .. "/best.safetensors", "--epochs", "6", "--lr", "0.01")
    local result = helpers.done(words)
    local of_teacher, of_student = result.out:match "accuracy +teacher ([01]%.%d+), student ([01]%.%d+)"
    assert.is_true(tonumber(of_teacher) > 0.5 and tonumber(of_student) > 0.4, result.out)
    assert.matches("parameters +teacher 173260, student 173260", result.out)
  end)

  it("takes a random MobileNet where there are no weights", function()
    local few = helpers.path "few"
    for _, class in ipairs(classes) do
      core.make_folder(few .. "/" .. class)
      for i = 1, 2 do
        core.write(("%s/%s/%d.png"):format(few, class, i), helpers.read(("%s/val/%s/%d.png"):format(clothes, class, i)))
      end
    end
    local result = helpers.done { "run", "distill", "--data", few, "--teacher", teacher .. "/best.safetensors", "--epochs", "1",
      "--out", helpers.fresh "run" }
    assert.contains("accuracy", result.out)
  end)
end)

describe("csv_multilabel", function()
  it("learns several labels a photo and tells how well each is found", function()
    local tags = { coat = "garment|long", shirt = "garment", sandal = "shoe", ["ankle boot"] = "shoe|long" }
    local lines = { "file,tags" }
    for _, class in ipairs(classes) do
      for i = 1, 12 do
        lines[#lines + 1] = ("clothes/train/%s/%d.png,%s"):format(class, i, tags[class])
      end
    end
    local csv, out = helpers.write(helpers.path "clothes.csv", table.concat(lines, "\n") .. "\n"), helpers.fresh "run"
    local result = helpers.done { "run", "csv_multilabel", "--csv", csv, "--weights", weights, "--epochs", "15", "--lr", "0.02",
      "--out", out }
    assert.contains("mAP", result.out)
    for _, label in ipairs { "garment", "long", "shoe" } do
      local precision, recall = result.out:match("\n" .. label .. " +%d+ +([01]%.%d+) +([01]%.%d+)")
      assert.is_true(tonumber(precision) > 0.5 and tonumber(recall) > 0.5, label .. "\n" .. result.out)
    end
    local rows = helpers.csv(out .. "/metrics.csv")
    assert.is_number(rows[15].val_f1)
    assert.is_number(rows[15].val_map)
    local seen = helpers.json { "predict", out .. "/best.safetensors", clothes .. "/val/coat/1.png" }
    local sum = 0
    for _, row in ipairs(seen[1].top) do
      sum = sum + row.p
    end
    assert.equal(3, #seen[1].top)
    assert.is_true(math.abs(sum - 1) > 1e-3, "probabilities are sigmoids, kept in the model file")
  end)
end)

describe("embeddings_knn", function()
  it("needs no training", function()
    local out = helpers.done((run "embeddings_knn")).out
    local right, all = out:match "^(%d+) of (%d+) right %([01]%.%d+%), by the 5 nearest of 48 known photos"
    assert.equal("24", all)
    assert.is_true(tonumber(right) > 14, right)
  end)
end)

describe("looking_inside", function()
  it("writes pictures of all that can be seen, and a page that holds them", function()
    local words, out = run("looking_inside", "--photos", "2", "--units", "2")
    assert.matches("%d of 10 neighbours are of the photo's class", helpers.done(words).out)
    local html = helpers.read(out .. "/looking_inside.html")
    for _, name in ipairs { "filters", "photo", "low", "mid", "high", "units_mid", "units_high", "why_1", "why_2", "neighbours",
      "map" } do
      assert.is_true(core.image_load(("%s/%s.png"):format(out, name)).shape[3] > 20, name)
    end
    assert.is_true(select(2, html:gsub("<img ", "")) >= 8 + 6 + 12)
    assert.contains("ankle boot blue, coat orange", html)
  end)
end)

describe("demo and train_fashion", function()
  it("compare a transfer with a start from scratch, and say where the demo's network is from", function()
    local out = helpers.fresh "run"
    local result = helpers.done { "run", "demo", "--weights", weights, "--epochs", "3", "--per-class", "10", "--out", out }
    assert.contains("40 training pictures (10 a class), 4000 test pictures", result.out)
    for _, name in ipairs { "transfer", "from scratch" } do
      assert.matches("\n  " .. name .. " +[01]%.%d+ +%d", result.out)
    end
    assert.truthy(core.stat(out .. "/clothes.safetensors"))
    assert.contains("8 epochs", helpers.done({ "plan", "train_fashion" }).out)
  end)
end)

describe("probes", function()
  it("trains as the advice says, which is on a page", function()
    local words, out = run("probes", "--epochs", "15")
    local result = helpers.done(words)
    assert.contains("You are here", result.out)
    assert.truthy(accuracy(result) > 0.5, result.out)
    assert.contains("<svg", helpers.read(out .. "/probe.html"))
  end)
end)

describe("scratch_or_pretrained", function()
  it("gives a verdict by its rule, on folders and on IDX files", function()
    local words, out = run("scratch_or_pretrained", "--epochs", "1,2", "--rates", "0.1", "--seeds", "1")
    local result = helpers.done(words)
    assert.matches("verdict +%l", result.out)
    assert.contains("<svg", helpers.read(out .. "/study.html"))
    result = helpers.done { "run", "scratch_or_pretrained", "--data", dataset, "--weights", weights, "--classes", "4,5,6,9",
      "--per-class", "5", "--val-per-class", "5", "--epochs", "1", "--rates", "0.1", "--seeds", "1", "--out",
      helpers.fresh "run" }
    assert.matches("pretrained +1 +0.1 +1 ", result.out)
  end)
end)
