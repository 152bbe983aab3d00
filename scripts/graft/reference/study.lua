-- The reference: studies. What the fields of an entry mean says scripts/graft/reference.lua.

local row = {
   { "seed", "integer", "the seed of the trial" },
   { "tuning", "boolean", "whether it was one of those that the rate was tuned by" },
   { "accuracy", "number", "of the best epoch, on the photos to validate with" },
   { "loss", "number?", "the loss there" },
   { "epochs_done", "integer", "of its last fit" },
   { "seconds", "number", "of its last fit" },
   { "photos", "integer", "that it was trained on" },
}

return { name = "study", title = "Studies", text = [[
Is pretraining worth it here? Does it last, or does training from scratch catch up? A study trains the same thing in several
variants with several seeds, searches a rate for each with the same effort, and gives a verdict by a rule that it states.

Trials are kept as they finish, in study.json of the run folder: --resume goes on with what is left, in the middle of a trial if
need be. Their weights are not kept. While a recipe is planned, one trial of each arm is, and that is all.]], entries = {
   {
      name = "graft.study",
      text = "Runs trials and compares them. Every combination of what `vary` lists is an arm. Each combination of `tune` is "
         .. "tried on every arm with the first seed, and the best one stays for the arm's other seeds. Arms take turns, so that "
         .. "a study that ends early is fair to all. The two arms that are compared are the values of a name that has "
         .. "\"pretrained\" and \"random\", else of the first that is not of numbers; a name with numbers, such as epochs, is "
         .. "the budget. print(s) shows a table, the verdict and its rule; report.html in the run folder shows the curves.",
      arguments = {},
      options = {
         { "vary", "table[]", "required", "{ {NAME, {values}}, ... }: what differs; numbers, texts or booleans" },
         { "trial", "function", "required", "function(c) that trains what c says and returns the run of graft.fit; c has one "
            .. "value of each name, and c.seed" },
         { "seeds", "integer[]", "{ 1, 2, 3 }", "set before each trial, also where --seed is given" },
         { "tune", "table<string, number[]>", "", "values to be tried on each arm, as { lr = { 0.01, 0.1 } }" },
         { "budget", "number", "", "seconds: a trial that would not fit is left out, and those after it" },
         { "out", "string", "", "the run folder; a recipe in the sandbox has it from --out" } },
      returns = { { "graft.study", "the study" } },
      errors = { { "option", "vary, seeds or trial are missing or wrong, or a trial returns no run", "graft.study{ vary = {} }" },
         { "data", "a trial has nothing to validate with" },
         { "limit", "there would be more than 10,000 trials" } },
      example = [[
local s = graft.study{ vary = { { "init", { "pretrained", "random" } } }, seeds = { 1 },
  trial = function(c)
    local net = graft.load("resnet18.safetensors"):replace_head(d)
    if c.init == "random" then net:reinit("*") end
    return graft.fit(net, d, { epochs = 1 })
  end }
print(#s.rows)  --> 2]],
      see = { "s.verdict", "graft.report", "net:reinit" },
   },
   { name = "s.rows", type = "table[]", text = "The finished trials; each has the names of vary and tune as fields as well.",
      fields = row, example = "print(s.rows[1].accuracy >= 0)  --> true" },
   { name = "s.verdict", type = '"pretrained_better"|"equal"|"only_faster"|"not_converged"', text = "What the numbers allow "
      .. "to say: ahead at the largest budget, no difference, ahead only at first, or undecided since the arm behind was still "
      .. "rising or trials are missing.", example = "print(s.verdict)" },
   { name = "s.why", type = "string", text = "The numbers behind the verdict.", example = "print(s.why)" },
   { name = "s.left", type = "integer", text = "Trials that did not run.", example = "print(s.left)  --> 0" },
   { name = "s.seconds", type = "number", text = "What the trials took, those of earlier runs too.",
      example = "print(s.seconds > 0)  --> true" },
} }
