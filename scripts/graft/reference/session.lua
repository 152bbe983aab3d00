-- The reference: seed, options, run folder, errors. What the fields of an entry mean says scripts/graft/reference.lua.

local topic = { name = "session", title = "Seed, options, run folder, errors", text = [[
Functions of Graft never return nil and a message: they raise a table with kind, message, near and where, which prints well.
What the kinds stand for: graft help errors.]] }

topic.pages = { { name = "errors", title = "Errors and their kinds", text = [[
Every function of Graft raises a table {kind=, message=, near=, where=} that prints well, and none returns nil and a message:

  local ok, err = pcall(net.predict, net, "upload.jpg")
  if not ok then print(err.kind, err.message) end

  name       no layer, class, tensor, field or column of that name; see err.near
  option     an argument or option of a wrong type or value
  shape      sizes that do not fit each other, or an index that does not exist
  file       it cannot be read or written, or is not what it claims to be
  data       photos or labels that do not allow what was asked
  memory     memory ran out, or the limit of graft.config was reached
  limit      a size beyond what Graft handles
  number     a loss, gradient or number that stopped being finite
  interrupt  Ctrl-C, or the signal to end

Errors of a recipe's own, and of Lua, pass through as they are.]] } }

topic.entries = {
   {
      name = "graft.seed",
      text = "Sets the seed that every random stream derives from. --seed on the command line wins, and then nothing is set.",
      arguments = { { "n", "integer", "required", "any whole number" } },
      returns = { { "integer", "the seed that holds now" } },
      errors = { { "option", "it is no whole number", "graft.seed(0.5)" } },
      example = "print(graft.seed(7))  --> 7\nlocal first = graft.rand(2)\ngraft.seed(7)\nprint(graft.rand(2) == first)  --> "
         .. "true",
      see = { "graft.rand", "set:batches" },
   },
   {
      name = "graft.options",
      text = "Declares what a recipe takes on its command line and returns the values. --name VALUE or --name=VALUE; "
         .. "batch_size is --batch-size. A recipe declares once, before it trains; graft run RECIPE --help lists what it "
         .. "declared.\n\n"
         .. "Each key is an option. Its value is a default (a whole number, another number, text or a boolean says the type), "
            .. "or a table with the keys below.",
      arguments = {},
      options = {
         { "type", '"folder"|"file"|"integer"|"number"|"boolean"|"string"|"choice"', "", "required without default and choices" },
         { "default", "any", "", "without: the option reads nil when it is not given" },
         { "help", "string", "", "what --help says" },
         { "choices", "string[]", "", "the words that are allowed" },
         { "min", "number", "", "the least that a number may be" },
         { "max", "number", "", "the most that a number may be" },
      },
      options_title = "keys of each option",
      returns = { { "table<string, any>", "a value for each option; reading another name raises" } },
      errors = { { "option", "a type is unknown, a name belongs to graft itself, or options are declared twice",
            "graft.options{ seed = 1 }" },
         { "name", "an option is read that was not declared", 'return graft.options{ epochs = 20 }.epoch' } },
      example = 'local opt = graft.options{\n  data = { type = "folder", help = "photos, one folder a class" },\n'
         .. '  mode = { choices = { "fast", "good" }, default = "good", help = "how" },\n  epochs = { type = "integer", '
            .. 'default = 20, '
         .. "min = 1, max = 99 },\n  lr = 0.01,\n}\nprint(opt.data, opt.mode, opt.epochs)  --> nil  good  20",
      see = { "graft run" },
   },
   {
      name = "graft.out",
      text = "A path in the run folder, which is made when it is not there: --out, or runs/RECIPE-N with the first free N.",
      arguments = { { "name", "string", "required", "a name inside of the folder" } },
      returns = { { "string", "the path" } },
      errors = { { "file", "the name leads out of the folder; the folder is not empty and the run is not resumed",
         'graft.out("../a.txt")' } },
      example = 'net:save(graft.out("flowers.safetensors"))',
      see = { "run.out" },
   },
   {
      name = "graft.config",
      text = "Settings of programs that embed Graft. As a module it changes no global, installs no signal handler and is silent.",
      options = {
         { "threads", "integer", "", "threads to compute with; 0: one a processor. --threads wins" },
         { "memory", "number", "", "bytes that Graft may allocate; 0: no limit. An allocation beyond it raises kind \"memory\"" },
         { "progress", "boolean", "", "progress and notes on stderr" },
      },
      errors = { { "option", "an option is unknown or has a wrong value", "graft.config{ thread = 1 }" } },
      example = "graft.config{ threads = 1, progress = false }",
   },
   { name = "graft.mode", type = '"run"|"plan"|"prompt"|"module"', text = "How Graft was started. Under plan, fit prints what "
      .. "it would do and returns a run whose measured fields end the planning when they are read.",
      example = "print(graft.mode)  --> module",
      see = { "graft plan" } },
   { name = "graft.version", type = "string", text = "The version of Graft.", example = "print(type(graft.version))  --> "
      .. "string" },
   { name = "err.kind", type = "string", text = 'What sort of error it is: "name", "option", "shape", "file", "data", '
      .. '"memory", "limit", "number" or "interrupt".', example = 'local ok, err = pcall(graft.load, '
      .. '"none.pth")\nprint(err.kind)  --> file',
      see = { "err.message" } },
   { name = "err.message", type = "string", text = "What was expected, what came, and where, in words.",
      example = 'local ok, err = pcall(net.freeze, net, "boby")\nprint(err.message:find("nearest") ~= nil)  --> true' },
   { name = "err.near", type = "string?", text = "The nearest right name, where there is one.",
      example = 'local ok, err = pcall(net.freeze, net, "boby")\nprint(err.near)  --> body' },
   { name = "err.where", type = "string?", text = '"FILE:LINE" of the recipe that called. tostring(err) puts it before the '
      .. 'message.',
      example = 'local ok, err = pcall(net.freeze, net, "boby")\nprint(err.where)' },
}

return topic
