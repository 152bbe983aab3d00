-- The reference: the command line. Arguments and options come from the commands themselves. What the fields of an entry mean
-- says scripts/graft/reference.lua; `shell` is an example that the tests run in a folder with photos and weights.

local topic = { name = "command", title = "The command line", text = [[
Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 failed, 2 bad usage, 3 lock mismatch, 130
interrupted, 143 terminated.

Options come in any order after the command, as --name VALUE or --name=VALUE; -- ends them.]] }

-- Of the program, not of a command: for the manual page.
topic.environment = {
   { "GRAFT_HISTORY", "file that keeps the lines typed at the prompt (default: .graft_history in the home folder; empty: none)" },
   { "GRAFT_SIMD", '"baseline", "avx2" or "avx512": the instructions to use, of those that the processor has' },
   { "GRAFT_LUA_PATH", "a folder with scripts/ and models/ to read instead of what is in the program: for work on Graft itself" },
}
topic.run_files = {
   { "runs/RECIPE-N/recipe.lua", "the recipe as it was run" },
   { "runs/RECIPE-N/recipe.lock", "digests of weights and data, options, seed, versions" },
   { "runs/RECIPE-N/metrics.csv", "a row an epoch" },
   { "runs/RECIPE-N/best.safetensors", "the best epoch, a model file" },
   { "runs/RECIPE-N/last.safetensors", "the last epoch with the optimiser's state, for --resume" },
   { "runs/RECIPE-N/report.txt", "what the run printed at its end" },
   { "runs/RECIPE-N/report.html", "the same as a page, with plots and photos; it needs no network and runs no script" },
}

topic.entries = {
   { name = "graft run", command = "run", text = "Trains as a recipe says. RECIPE is a Lua file, or the name of a recipe that "
      .. "comes with Graft (graft help recipes). The run folder receives the recipe, its lock, metrics, checkpoints and a "
      .. "report; a folder that is not empty is refused unless --resume is given.",
      shell = "graft run head_only --data photos --weights resnet18.safetensors --epochs 2 --out runs/one",
      see = { "graft plan", "graft.options", "recipes", "security" } },
   { name = "graft plan", command = "plan", text = "Prints what the same recipe with the same options would do: layers, what "
      .. "is frozen and kept, memory at the peak, time from a few timed batches. Nothing is trained or written. Where the "
      .. "recipe reads what only training can tell, the plan ends.",
      shell = "graft plan head_only --data photos --weights resnet18.safetensors", see = { "graft run", "graft.plan" } },
   { name = "graft probe", command = "probe", text = "Measures how well a linear classifier does on the features of each depth "
      .. "of a network, and advises what to transfer. Of the data the photos to train on alone are looked at.",
      shell = "graft probe resnet18.safetensors photos --folds 3 --write advised.lua --plot probe.html\n"
      .. "graft run advised.lua --data photos --weights resnet18.safetensors --epochs 2 --out runs/advised",
      see = { "graft.probe", "graft.advise" } },
   { name = "graft predict", command = "predict", text = "Names the classes of photos, the most likely one first. A folder "
      .. "stands for the photos in it. A photo that cannot be read is said on stderr, the others are done, and the exit "
      .. "status is 1.",
      shell = "graft predict resnet18.safetensors new/a.jpg", see = { "net:predict" } },
   { name = "graft eval", command = "eval", text = "Measures a model on data: a folder, a CSV file or a folder of IDX files. "
      .. "Classes are matched by name. With --report a page shows it with the worst mistakes; with --heads each classifier "
      .. "stands with its cost, so that the network can be cut at an early one.",
      shell = "graft run head_only --data photos --weights resnet18.safetensors --epochs 1 --out runs/two --quiet\n"
      .. "graft eval runs/two/best.safetensors photos --report photos.html", see = { "graft.evaluate", "graft.report" } },
   { name = "graft embed", command = "embed", text = "Writes features of photos as a .npy file, and the files' names beside it.",
      shell = "graft embed resnet18.safetensors new --at layer3 --out features.npy", see = { "graft.embed" } },
   { name = "graft inspect", command = "inspect", text = "Says what a file or folder is: weights, a model, a photo, a lock, an "
      .. "ONNX file, a run folder or a data folder; of data also what is skipped, and photos that lie in two classes.",
      shell = "graft inspect photos\ngraft inspect resnet18.safetensors --layers", see = { "data.skipped" } },
   { name = "graft convert", command = "convert", text = "Reads weights of any known format and writes .safetensors: a model "
      .. "file when the architecture is known.", shell = "graft convert resnet18.safetensors copy.safetensors",
      see = { "graft.load" } },
   { name = "graft export", command = "export", text = "Writes a network for other programs to run, as an ONNX file (operator "
      .. "set 17): inference, for any number of photos of the network's own size. Tensors keep their names, batch norms stay "
      .. "operators of their own. The input is called image, [N,C,H,W], the output logits, or features when there is no "
      .. "classifier; classes, preprocessing (JSON) and the licence are in the file's metadata. Dropout and, without --aux, "
      .. "auxiliary classifiers are left out. A network with a layer written in Lua is refused, and that layer named.",
      shell = "graft export resnet18.safetensors resnet18.onnx", see = { "net:export", "graft convert" } },
   { name = "graft pack", command = "pack", text = "Puts a run into one file, to be shared: recipe, lock, metrics, a short "
      .. "report, and with --weights the trained model. Whoever gets it looks first (graft inspect), then runs it on other data.",
      shell = "graft run head_only --data photos --weights resnet18.safetensors --epochs 1 --out runs/four --quiet\n"
      .. "graft pack runs/four four.graft\ngraft inspect four.graft", see = { "graft run", "graft inspect", "security" } },
   { name = "graft new", command = "new", text = "Writes a commented recipe to start from, for one of four situations: little "
      .. "or much data, like or unlike ImageNet. On a terminal it asks for what the options leave open.",
      shell = "graft new mine --situation little-similar", see = { "graft run", "recipes" } },
   { name = "graft bench", command = "bench", text = "Times inference, training steps and the start on random photos, each in "
      .. "a process of its own, and tells memory.", shell = "graft bench --model fashion --batch 1 --case inference --runs 1",
         see = { "graft plan" } },
   { name = "graft verify", command = "verify", text = "Replays a run in a folder of its own, from the recipe, options, seed and "
      .. "threads that its lock names, and compares: metrics and weights must be the same bit for bit on the same kind of "
      .. "processor. Nothing is trained when recipe, weights or a photo are not those of the lock; what differs is named.",
      shell = "graft run head_only --data photos --weights resnet18.safetensors --epochs 1 --out runs/three --quiet\n"
      .. "graft verify runs/three --data photos --weights resnet18.safetensors", see = { "graft run", "run.digest" } },
   { name = "graft help", command = "help", text = "Explains a command, a topic or a name of the Lua API; without any, lists "
      .. "them. At the "
      .. 'prompt: help "freeze".', shell = "graft help freeze", see = { "start" } },
   { name = "graft -e", arguments_text = "CHUNK [ARGS]", text = "Runs a line of Lua with `graft` loaded and prints its "
      .. "results. It is not confined.", shell = "graft -e 'graft.version'", see = { "security" } },
   { name = "graft", arguments_text = "", text = "The prompt, when somebody types; else runs the Lua text on standard input. "
      .. "Tab completes, _ is the last result, a top-level local stays. It is not confined.",
      shell = "echo 'print(graft.version)' | graft",
      see = { "start", "security" } },
}

return topic
