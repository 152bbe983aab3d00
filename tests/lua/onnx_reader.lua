-- Reads an ONNX file, knowing of it only protobuf's rules and the field numbers of onnx.proto: what was written is looked
-- at by a reader that shares nothing with the writer.
local onnx_reader = {}

local function varint(bytes, at)
  local value, shift = 0, 0
  repeat
    local byte = bytes:byte(at) or error "a number ends early"
    value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
  until byte < 0x80
  return value, at
end

-- {[field number] = {value, ...}} of a message: numbers as integers, four bytes as a float, all else as a string.
local function message(bytes)
  local fields, at = {}, 1
  while at <= #bytes do
    local key, value
    key, at = varint(bytes, at)
    if key & 7 == 0 then
      value, at = varint(bytes, at)
    elseif key & 7 == 5 then
      value, at = ("<f"):unpack(bytes, at)
    elseif key & 7 == 2 then
      local length
      length, at = varint(bytes, at)
      assert(at + length - 1 <= #bytes, "a field ends early")
      value, at = bytes:sub(at, at + length - 1), at + length
    else
      error("a field of kind " .. (key & 7))
    end
    fields[key >> 3] = fields[key >> 3] or {}
    table.insert(fields[key >> 3], value)
  end
  return fields
end

local function only(fields, number)
  assert(fields[number] and #fields[number] == 1, "field " .. number .. " is not there once")
  return fields[number][1]
end

local function known(fields, numbers)
  for number in pairs(fields) do
    assert((" " .. numbers .. " "):find(" " .. number .. " ", 1, true), "unknown field " .. number)
  end
  return fields
end

local function attribute(bytes)
  local fields = known(message(bytes), "1 2 3 8 20")
  local of_type = { [1] = 2, [2] = 3, [7] = 8 }
  local at = assert(of_type[only(fields, 20)], "a kind of attribute")
  return only(fields, 1), at == 8 and fields[8] or only(fields, at)
end

local function node(bytes)
  local fields = known(message(bytes), "1 2 3 4 5")
  local made = { inputs = fields[1], output = only(fields, 2), name = only(fields, 3), type = only(fields, 4),
    attributes = {}, order = {} }
  for _, text in ipairs(fields[5] or {}) do
    local name, value = attribute(text)
    made.attributes[name] = value
    table.insert(made.order, name)
  end
  return made
end

local function constant(bytes)
  local fields = known(message(bytes), "1 2 8 9")
  local kind, shape, raw = only(fields, 2), fields[1] or {}, only(fields, 9)
  local count, values = 1, {}
  for _, size in ipairs(shape) do
    count = count * size
  end
  local format, size = assert(({ [1] = "<f", [7] = "<i8" })[kind], "a kind of number"), kind == 1 and 4 or 8
  assert(#raw == count * size, "numbers for the shape")
  for i = 1, count do
    values[i] = format:unpack(raw, (i - 1) * size + 1)
  end
  return { name = only(fields, 8), shape = shape, kind = kind == 1 and "float" or "int64", values = values }
end

local function value(bytes)
  local fields = known(message(bytes), "1 2")
  local tensor = message(only(known(message(only(fields, 2)), "1"), 1))
  assert(only(tensor, 1) == 1, "floats")
  local shape = {}
  for i, dim in ipairs(message(only(tensor, 2))[1]) do
    local size = known(message(dim), "1 2")
    shape[i] = size[1] and size[1][1] or size[2][1]
  end
  return { name = only(fields, 1), shape = shape }
end

local function each(list, f)
  local made = {}
  for i, bytes in ipairs(list or {}) do
    made[i] = f(bytes)
  end
  return made
end

function onnx_reader.parse(bytes)
  local model = known(message(bytes), "1 2 3 6 7 8 14")
  local graph = known(message(only(model, 7)), "1 2 5 11 12")
  local made = { format = only(model, 1), producer = only(model, 2), version = only(model, 3), doc = only(model, 6),
    operator_set = only(known(message(only(model, 8)), "2"), 2), metadata = {}, keys = {}, name = only(graph, 2),
    nodes = each(graph[1], node), constants = each(graph[5], constant), inputs = each(graph[11], value),
    outputs = each(graph[12], value) }
  for i, entry in ipairs(model[14]) do
    local pair = message(entry)
    made.keys[i] = only(pair, 1)
    made.metadata[made.keys[i]] = only(pair, 2)
  end
  return made
end

-- Everything that is read was said before; no name is given twice; nothing is said in vain.
function onnx_reader.check(model)
  local known_values, read, names = {}, {}, {}
  local function say(name)
    assert(#name > 0 and utf8.len(name) and not known_values[name], name .. " is said twice")
    known_values[name] = true
  end
  each(model.inputs, function(given) say(given.name) end)
  each(model.constants, function(given) say(given.name) end)
  for _, operator in ipairs(model.nodes) do
    assert(utf8.len(operator.name) and not names[operator.name], operator.name .. " is called twice")
    names[operator.name] = true
    for _, input in ipairs(operator.inputs) do
      assert(known_values[input], input .. " is read before it is there")
      read[input] = true
    end
    say(operator.output)
  end
  for _, output in ipairs(model.outputs) do
    assert(known_values[output.name], output.name .. " is not there")
    read[output.name] = true
  end
  for name in pairs(known_values) do
    assert(read[name], name .. " is of no use")
  end
end

local function number(x)
  return math.type(x) == "integer" and tostring(x) or ("%.6g"):format(x)
end

local function list(values)
  local words = {}
  for i, x in ipairs(values) do
    words[i] = type(x) == "number" and number(x) or x
  end
  return table.concat(words, " ")
end

-- Every operator with its attributes, every constant with its shape, and with its numbers where they are no tensor of the
-- network.
function onnx_reader.listing(model)
  local lines = {}
  for _, given in ipairs(model.inputs) do
    table.insert(lines, ("input %s [%s]"):format(given.name, list(given.shape)))
  end
  for _, operator in ipairs(model.nodes) do
    local words = {}
    for i, name in ipairs(operator.order) do
      local x = operator.attributes[name]
      words[i] = (" %s=%s"):format(name, type(x) == "table" and "(" .. list(x) .. ")" or number(x))
    end
    table.insert(lines, ("%s %s = %s%s"):format(operator.type, operator.output, table.concat(operator.inputs, ", "),
      table.concat(words)))
  end
  for _, given in ipairs(model.constants) do
    table.insert(lines, ("%s %s [%s]%s"):format(given.kind, given.name, list(given.shape),
      given.name:find "/" and " " .. list(given.values) or ""))
  end
  for _, given in ipairs(model.outputs) do
    table.insert(lines, ("output %s [%s]"):format(given.name, list(given.shape)))
  end
  return table.concat(lines, "\n") .. "\n"
end

return onnx_reader
