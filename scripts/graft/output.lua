-- What goes to stdout as it is. In the sandbox all other text is freed of control characters on its way (graft.guest).

local output = {}

-- For JSON, and for pictures in half blocks: text that no recipe worded.
function output.raw(text)
   io.stdout:write(text)
end

return output
