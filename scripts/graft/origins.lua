-- Which network and photos a result came from, for pages that show some of the photos. The network is not kept alive by it,
-- and one that has changed since is not asked again.

local origins = {}

local all = setmetatable({}, { __mode = "k" }) -- result -> {weak={net=, handle=}, set=, version=}

-- `at_once`: how many photos the network has been asked about at once, or nil.
function origins.note(result, net, handle, set, at_once)
   all[result] = { weak = setmetatable({ net = net, handle = handle }, { __mode = "v" }), set = set,
      version = handle:version(), at_once = at_once }
end

-- {net=, set=, at_once=}: as far as they are there, and the network is as it was.
function origins.of(result)
   local origin = all[result]
   if not origin then
      return nil
   end
   local weak = origin.weak
   local handle = weak.handle
   local same = handle and not handle:closed() and handle:version() == origin.version
   return { net = same and weak.net or nil, set = origin.set, at_once = origin.at_once }
end

return origins
