-- What an ONNX file says of itself, for `graft inspect`: who wrote it, what goes in and out, which operators. Its weights
-- are passed over. The file may be anybody's, so every length is checked before it is believed.

local core = require "graft.core"

local onnx = {}

local LONGEST = 1 << 16 -- bytes of a text or a small message that are read
local MOST = 1000000 -- fields that are looked at

local function damaged(path, what)
   core.error("file", ("%s: is no whole ONNX file: %s"):format(path, what))
end

-- A variable-length integer at `at`; value and the place after it.
local function varint(reader, at)
   local value, shift = 0, 0
   local bytes = reader:bytes(at, math.min(10, reader.size - at))
   for i = 1, #bytes do
      local byte = bytes:byte(i)
      value, shift = value | (byte & 0x7F) << shift, shift + 7
      if byte < 0x80 then
         return value, at + i
      end
   end
   damaged(reader.path, ("the number at byte %d does not end"):format(at))
end

-- for field, value, length in fields(reader, from, to): numbers as value, texts and messages as their place and length.
local function fields(reader, from, to)
   local at = from
   return function()
      if at >= to then
         return nil
      end
      reader.count = reader.count + 1
      if reader.count > MOST then
         damaged(reader.path, ("it has more than %d fields"):format(MOST))
      end
      local key, value, length
      key, at = varint(reader, at)
      local kind = key & 7
      if kind == 0 then
         value, at = varint(reader, at)
         return key >> 3, value
      elseif kind == 1 or kind == 5 then
         length = kind == 1 and 8 or 4
      elseif kind == 2 then
         length, at = varint(reader, at)
      else
         damaged(reader.path, ("byte %d begins no field"):format(at - 1))
      end
      if length < 0 or length > to - at then
         damaged(reader.path, ("the field before byte %d ends after the file or the message that it is in"):format(at))
      end
      value, at = at, at + length
      return key >> 3, value, length
   end
end

local Reader = {}
Reader.__index = Reader

function Reader:bytes(at, length)
   self.file:seek("set", at)
   return self.file:read(length) or ""
end

function Reader:text(at, length)
   return length and self:bytes(at, math.min(length, LONGEST)) or ""
end

-- The first text or message of this number; nil when there is none.
local function find(reader, number, from, length)
   for field, at, size in fields(reader, from, from + length) do
      if field == number and size then
         return at, size
      end
   end
end

-- "image [N,3,224,224]" of a ValueInfoProto, whose shape is its type's tensor type's.
local function value_text(reader, from, length)
   local at, size = find(reader, 1, from, length)
   local name, dims = at and reader:text(at, size) or "?", {}
   at, size = find(reader, 2, from, length)
   for _, number in ipairs { 1, 2 } do
      if at then
         at, size = find(reader, number, at, size)
      end
   end
   if not at then
      return name
   end
   for field, dim, dim_size in fields(reader, at, at + size) do
      if field == 1 and dim_size and #dims < 16 then
         dims[#dims + 1] = "?"
         for part, value, named in fields(reader, dim, dim + dim_size) do
            dims[#dims] = part == 1 and not named and tostring(value) or part == 2 and named and reader:text(value, named)
               or dims[#dims]
         end
      end
   end
   return ("%s [%s]"):format(name, table.concat(dims, ","))
end

local function read_graph(reader, told, from, length)
   for field, at, size in fields(reader, from, from + length) do
      if field == 1 and size then
         local type_at, type_size = find(reader, 4, at, size)
         local kind = type_at and reader:text(type_at, type_size) or "?"
         told.kinds[kind] = (told.kinds[kind] or 0) + 1
         told.operators = told.operators + 1
      elseif field == 2 and size then
         told.name = reader:text(at, size)
      elseif field == 5 and size then
         told.constants = told.constants + 1
         local name_at, name_size = find(reader, 8, at, size)
         told.given[name_at and reader:text(name_at, name_size) or ""] = true
      elseif (field == 11 or field == 12) and size then
         table.insert(field == 11 and told.inputs or told.outputs, value_text(reader, at, size))
      end
   end
end

-- Old files list their weights among the inputs too.
local function without(inputs, given)
   local left = {}
   for _, text in ipairs(inputs) do
      if not given[text:match "^(.-) %[" or text] then
         left[#left + 1] = text
      end
   end
   return left
end

-- The version of ONNX's own operators, or nil when this is another set's.
local function operator_set(reader, from, length)
   local version
   for field, value, size in fields(reader, from, from + length) do
      if field == 1 and size and size > 0 then
         return nil
      end
      version = field == 2 and not size and value or version
   end
   return version
end

-- {format=, producer=, version=, operator_set=, name=, operators=, kinds={[type]=count}, constants=, inputs={texts},
-- outputs={texts}, metadata={[key]=text}}. Texts are as the file has them: printable is the caller's matter.
function onnx.read(path)
   local file <close> = io.open(path, "rb") or core.error("file", path .. ": cannot be opened")
   local reader = setmetatable({ file = file, path = path, size = file:seek "end", count = 0 }, Reader)
   local told = { operators = 0, kinds = {}, constants = 0, inputs = {}, outputs = {}, metadata = {}, given = {} }
   for field, at, size in fields(reader, 0, reader.size) do
      if field == 1 and not size then
         told.format = at
      elseif field == 2 then
         told.producer = reader:text(at, size)
      elseif field == 3 then
         told.version = reader:text(at, size)
      elseif field == 7 and size then
         read_graph(reader, told, at, size)
      elseif field == 8 and size then
         told.operator_set = operator_set(reader, at, size) or told.operator_set
      elseif field == 14 and size then
         local key_at, key_size = find(reader, 1, at, size)
         local value_at, value_size = find(reader, 2, at, size)
         if key_at then
            told.metadata[reader:text(key_at, key_size)] = value_at and reader:text(value_at, value_size) or ""
         end
      end
   end
   if told.operators == 0 or not told.format then
      damaged(path, "it holds no graph of operators")
   end
   told.inputs, told.given = without(told.inputs, told.given), nil
   return told
end

-- By its first bytes: the format's number, then who wrote it.
function onnx.is(path)
   local file <close> = io.open(path, "rb")
   local head = file and file:read(4) or ""
   return head:match "^\8[\1-\31]\18[\1-\63]" ~= nil
end

return onnx
