-- Distillation: a small network learns from a trained large one, not only from the labels.
--
--    graft run head_only --data photos/ --weights efficientnet_lite0.pth --out runs/teacher
--    graft run distill --data photos/ --teacher runs/teacher/best.safetensors --weights tiny_darknet.safetensors
--
-- The teacher's probabilities say more than the label: this bee looks a little like an ant. Both are softened by a temperature
-- T, and the student follows with the weight alpha, the labels with the rest (G. Hinton and others, "Distilling the Knowledge in
-- a Neural Network", 2015). Without --weights the student is a MobileNet v2 with random weights, which wants many photos.
--
-- On ants and bees (244 photos, 153 to check with), with a teacher by head_only from EfficientNet-Lite0 and Tiny Darknet as the
-- student, it prints, besides the progress:
--
--    accuracy  0.908 on photos it never trained on (139 of 153; 95 % interval 0.85-0.94); always saying "bees": 0.54
--    mistakes  bees taken for ants 9, ants taken for bees 5
--    spent     1 min 14 s, 911 MiB (the whole process 1012 MiB)
--    kept      runs/distill-1/best.safetensors (epoch 8 of 8, chosen on those 153 photos)
--    next      graft predict runs/distill-1/best.safetensors PHOTO
--
--    parameters  teacher 3373570, student 913362
--    accuracy    teacher 0.954, student 0.908

local graft = require "graft"

local opt = graft.options {
   data = { type = "folder", help = "photos, one folder a class" },
   teacher = { type = "file", help = "a model that was trained on these classes (best.safetensors of a run)" },
   weights = { type = "file", help = "pretrained weights of the student" },
   temperature = { type = "number", default = 4.0, min = 0.1, help = "how much the probabilities are softened" },
   alpha = { type = "number", default = 0.7, min = 0, max = 1, help = "weight of the teacher; the labels have the rest" },
   epochs = { type = "integer", default = 8, min = 1, help = "epochs" },
   batch_size = { type = "integer", default = 32, min = 1, help = "photos in a step" },
   lr = { type = "number", default = 1e-3, help = "learning rate" },
   augment = { type = "choice", choices = { "none", "light", "standard" }, default = "none", help = "random crops and flips" },
}

local teacher = graft.load(opt.teacher)
local d = graft.data.folder(opt.data, { classes = teacher.classes }) -- the same order by construction
local student
if opt.weights then
   student = graft.load(opt.weights):replace_head(d):unfreeze { "*", bn = "fixed" }
      :lr_scale { { "*", 1 / 10 }, { "head", 1 } }
else
   student = graft.models.mobilenet_v2 { classes = d }
end

local hard, T, alpha = graft.nn.cross_entropy {}, opt.temperature, opt.alpha

-- logits and y are [N,K]. The soft part is the Kullback-Leibler divergence of student and teacher, times T^2 so that its
-- gradient keeps its size whatever T is.
local function distill(logits, y, b)
   local hard_loss, hard_gradient = hard(logits, y)
   local t = (teacher(b:input(teacher)) / T):log_softmax(2) -- the same photos, as the teacher wants them
   local s = (logits / T):log_softmax(2)
   local soft_loss = (t:exp() * (t - s)):sum() / #y * T * T
   return (1 - alpha) * hard_loss + alpha * soft_loss,
      hard_gradient * (1 - alpha) + (s:exp() - t:exp()) * (alpha * T / #y)
end

print(graft.fit(student, d, {
   loss = distill,
   epochs = opt.epochs,
   batch_size = math.min(opt.batch_size, #d.train),
   augment = opt.augment,
   clip = 1,
   optimizer = graft.adamw { lr = opt.lr },
   schedule = graft.cosine { warmup = 0.1 },
}))
print(("\nparameters  teacher %d, student %d"):format(teacher:parameters(), student:parameters()))
print(("accuracy    teacher %.3f, student %.3f"):format(graft.evaluate(teacher, d.val).accuracy,
   graft.evaluate(student, d.val).accuracy))
