-- Text that is typed, pasted or piped, as chunks that can be run: what is finished, what has to go on, where one ends.

local chunks = {}

-- --- tokens ---

-- Splits Lua text into tokens: next_token(position) -> kind, first, last; kind is a name or keyword itself, "string",
-- "number" or one character. nil at the end. Comments and blanks are left out.
function chunks.tokens(text)
   return function(position)
      while true do
         position = text:find("%S", position)
         if not position then
            return nil
         end
         local level = text:match("^%-%-%[(=*)%[", position)
         if level then
            local _, last = text:find("]" .. level .. "]", position, true)
            position = (last or #text) + 1
         elseif text:find("^%-%-", position) then
            position = text:find("\n", position, true) or #text + 1
         else
            break
         end
      end
      local first = position
      local name = text:match("^[%a_][%w_]*", first)
      if name then
         return name, first, first + #name - 1
      end
      local number = text:match("^%.?%d[%w_.]*", first)
      if number then
         return "number", first, first + #number - 1
      end
      local level = text:match("^%[(=*)%[", first)
      if level then
         local _, last = text:find("]" .. level .. "]", first, true)
         return "string", first, last or #text
      end
      local quote = text:match("^[\"']", first)
      if quote then
         local last = first + 1
         while last < #text and text:sub(last, last) ~= quote do
            last = last + (text:sub(last, last) == "\\" and 2 or 1)
         end
         return "string", first, last
      end
      return text:sub(first, first), first, first
   end
end

-- --- top-level locals stay ---

-- The names after `local` from `position` on, and where the statement goes on. Attributes are read over: a value that
-- stays is not closed at the end of its line.
local function names_of(next_token, position)
   local names, kind, stop = {}
   repeat
      local name, _, last = next_token(position)
      names[#names + 1] = name
      kind, _, stop = next_token(last + 1)
      if kind == "<" then
         _, _, last = next_token(stop + 1) -- the attribute
         _, _, last = next_token(last + 1) -- ">"
         kind, _, stop = next_token(last + 1)
      end
      position = stop and stop + 1
   until kind ~= ","
   return names, kind, position
end

local opens = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local closes = { ["end"] = true, ["until"] = true }

-- Turns the top-level locals of a chunk that compiles into globals, so that the next lines see them. Lines stay where
-- they are.
function chunks.keep_locals(text)
   local next_token = chunks.tokens(text)
   local parts, copied, depth, position = {}, 1, 0, 1
   while true do
      local kind, first, last = next_token(position)
      if not kind then
         break
      end
      position = last + 1
      if opens[kind] then
         depth = depth + 1
      elseif closes[kind] then
         depth = depth - 1
      elseif kind == "local" and depth == 0 then
         parts[#parts + 1] = text:sub(copied, first - 1)
         copied = position
         if next_token(position) ~= "function" then
            local names, follows, after = names_of(next_token, position)
            position = after or #text + 1
            if follows == "=" then
               parts[#parts + 1] = table.concat(names, ", ") .. " ="
            else -- declared without a value
               position = follows and after - #follows or position
               parts[#parts + 1] = table.concat(names, ", ") .. " = nil "
            end
            parts[#parts + 1] = text:sub(copied, position - 1):gsub("[^\n]", "")
            copied = position
         end
      end
   end
   parts[#parts + 1] = text:sub(copied)
   return table.concat(parts)
end

-- --- compiling ---

-- Which of two messages says more: of an expression, or of statements, which an expression's first word cannot begin.
local function better(text, of_expression, of_statements)
   local _, first, last = chunks.tokens(text)(1)
   local word = first and text:sub(first, last)
   return word and of_statements:sub(-#word - 8) == " near '" .. word .. "'" and of_expression or of_statements
end

-- Does a message say that the text ended too early? A string in quotes has to end in its line.
local function goes_further(message)
   return message:find("<eof>'?$") ~= nil and not message:find("unfinished string near", 1, true)
end

-- Compiles an expression or statements. Returns the function, or nil, the message and whether the text is unfinished.
-- With `keep`, top-level locals become globals of `env`.
function chunks.compile(text, name, env, keep)
   local expression, of_expression = load("return " .. text:gsub("^(%s*)=", "%1"), name, "t", env)
   if expression then
      return expression
   end
   local chunk, of_statements = load(text, name, "t", env)
   if not chunk then
      return nil, better(text, of_expression, of_statements), goes_further(of_expression) or goes_further(of_statements)
   end
   return keep and load(chunks.keep_locals(text), name, "t", env) or chunk
end

-- Does a line go on with the statement of the line before, which could stand alone? `net` and `:freeze("body")` below it.
local function goes_on(line)
   if not line then
      return false
   end
   local word = line:match("^%s*(%a+)")
   return line:find("^%s*[:.,+*/%^=<>~)}%]]") or word == "and" or word == "or"
end

-- Text that is neither an expression nor statements as a whole, line by line as if it were typed: a list of compiled chunks,
-- each with the number of its first line. Returns nil, the message and whether the text is unfinished when one fails, and then
-- as a fourth result the list of those before it, as a fifth the text that is left.
local function split(text, name, env)
   local lines, list, first = {}, {}, 1
   for line in (text .. "\n"):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
   end
   local message, unfinished
   for last = 1, #lines do
      -- empty lines before it keep the numbers in messages right
      local part = ("\n"):rep(first - 1) .. table.concat(lines, "\n", first, last)
      local chunk
      chunk, message, unfinished = chunks.compile(part, name, env, true)
      if chunk and not goes_on(lines[last + 1]) then
         list[#list + 1] = { run = chunk, line = first }
         first, message = last + 1, nil
      elseif not chunk and not unfinished then
         break
      end
   end
   if message then
      return nil, message, unfinished, list, table.concat(lines, "\n", first)
   end
   return list
end

-- The chunks of a text. With `keep`, as if it were typed line by line: each line that can stand alone is one, so that its
-- results are printed and Ctrl-C ends what comes after it too. Otherwise one, where the text compiles as a whole, and as many as
-- its lines make where it does not. Results as those of split.
function chunks.read(text, name, env, keep)
   local whole, message, unfinished = chunks.compile(text, name, env, keep)
   if not text:find("\n") or (whole and not keep) then
      if whole then
         return { { run = whole, line = 1 } }
      end
      return nil, message, unfinished, {}, text
   end
   local list, why, open, before, rest = split(text, name, env)
   if list then
      return list
   elseif whole then -- a label, say, that another line jumps to
      return { { run = whole, line = 1 } }
   elseif #before == 0 then -- what is wrong is better told of the whole
      return nil, message, unfinished, before, text
   end
   return nil, why, open, before, rest
end

return chunks
