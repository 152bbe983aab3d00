-- graft export MODEL OUT.onnx: a network for other programs to run

local core = require "graft.core"
local context = require "graft.context"
local options = require "graft.options"
local format = require "graft.format"

local command = {}

command.options = {
   aux = { type = "boolean", help = "auxiliary classifiers as well, each an output of its own" },
   arch = { type = "string", help = "the architecture, where it is not recognised" },
   force = { type = "boolean", help = "replaces OUT when it is there already" },
}

local function few(names, most)
   local shown = core.printable(table.concat(names, ", ", 1, math.min(most, #names)))
   return #names > most and ("%s and %d more"):format(shown, #names - most) or shown
end

local function shape_text(shape)
   return "[N," .. table.concat(shape, ",") .. "]"
end

-- What of the network is not in the file, or nil.
local function left_out_text(written, aux)
   local parts = {}
   if #written.left_out > 0 then
      parts[1] = few(written.left_out, 3) .. " (acts in training only)"
   end
   if aux > 0 then
      parts[#parts + 1] = format.plural(aux, "auxiliary classifier") .. " (--aux keeps them)"
   end
   return #parts > 0 and table.concat(parts, "; ") or nil
end

local function text_of(to, handle, written, aux)
   local how, classes = handle:preprocessing(), handle:classes()
   local rows = { { "network", ("%s, %s parameters"):format(format.plural(written.operators, "operator"),
      format.count(written.parameters)) } }
   local function add(label, text)
      rows[#rows + 1] = { label, text }
   end
   add("input", ("image %s, float32, %s"):format(shape_text(handle:input_shape()), how.bgr and "BGR" or "RGB"))
   add("", (how.stretch and "stretched to that size" or ("short side resized to %d, middle cut out"):format(how.resize))
      .. "; (value / 255 - mean) / std")
   local classifies = written.outputs[1].name == "logits"
   for i, output in ipairs(written.outputs) do
      add(i == 1 and "output" or "", ("%s %s%s"):format(core.printable(output.name), shape_text(output.shape),
         i == 1 and classifies and ("; their %s gives probabilities"):format(handle:multilabel() and "sigmoid" or "softmax")
         or ""))
   end
   if #classes > 0 then
      add("classes", few(classes, 4))
   end
   add("metadata", (#classes > 0 and "graft.classes, " or "") .. "graft.preprocessing (JSON)"
      .. (classifies and ", graft.probabilities" or ""))
   add("left out", left_out_text(written, aux) or "nothing")
   add("use", ('onnxruntime.InferenceSession("%s").run(None, {"image": x})'):format(core.printable(to)))
   return ("%s: %s as ONNX (operator set %d), %s\n%s"):format(core.printable(to), core.printable(handle:name()),
      written.operator_set, format.bytes(written.bytes), format.columns(rows, "ll", "  "))
end

function command.main(args)
   local given, rest = options.read(args, command.options, "graft export")
   if #rest ~= 2 then
      options.usage("graft export needs a model and a file to write: graft export MODEL OUT.onnx")
   end
   local from, to = rest[1], rest[2]
   if not to:match("%.onnx$") then
      core.error("file", ("%s: graft export writes .onnx; for .safetensors there is graft convert"):format(to))
   end
   if core.stat(to) and not given.force then
      core.error("file", to .. " exists already; --force replaces it")
   end
   local network = require "graft.network"
   local handle = network.handle(network.load(network.of_run(from), { arch = given.arch }), "graft export")
   local written = core.export(handle, to, { aux = given.aux or false })
   local aux = given.aux and 0 or #handle:aux()
   if context.json then
      print(core.json({ kind = "onnx", file = to, network = handle:name(), bytes = written.bytes,
         operators = written.operators, parameters = written.parameters, operator_set = written.operator_set,
         input = { name = "image", shape = core.array(handle:input_shape()) }, outputs = core.array(written.outputs),
         classes = core.array(handle:classes()), left_out = core.array(written.left_out), aux_left_out = aux }, 2))
   else
      print(text_of(to, handle, written, aux))
   end
   return 0
end

return command
