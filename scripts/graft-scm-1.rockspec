-- The Lua module and the program for LuaRocks, from a checkout whose packages are there (make setup):
--
--    luarocks --lua-version 5.4 make --local scripts/graft-scm-1.rockspec
rockspec_format = "3.0"
package = "graft"
version = "scm-1"
source = { url = "git+file://." } -- this checkout
description = {
   summary = "Transfer learning on CPUs: teach a pretrained network your own photos",
   detailed = "Freezing with proof, per-layer rates, auxiliary classifiers, recipes that can be shared; no Python, no downloads.",
   license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
build = {
   type = "make",
   build_target = "build/graft build/graft.so",
   build_variables = {},
   install_pass = false,
   install = { lib = { graft = "build/graft.so" }, bin = { graft = "build/graft" } },
}
