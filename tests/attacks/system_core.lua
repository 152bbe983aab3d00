-- Tries: to get at the functions below the library
-- Status: 0
-- Says: require knows only "graft" in the sandbox, not "graft.core"

for _, name in ipairs { "graft.core", "graft.run_folder", "graft.context", "graft.guest", "os", "io", "debug", "_G" } do
   local ok, failure = pcall(require, name)
   print(ok and "BREACH" or failure.message)
end
