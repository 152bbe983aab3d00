std = "lua54"
max_line_length = 130
codes = true
-- Callbacks often take more than they use.
unused_args = false
files["tests/lua"] = {
   globals = { "assert" },
   read_globals = { "describe", "it", "pending", "skip", "before_each", "after_each" },
}
files["tests/lua/run.lua"] = { globals = { "describe", "it", "pending", "skip", "before_each", "after_each" } }
-- not (x <= y) is how a NaN is caught.
ignore = { "581" }
