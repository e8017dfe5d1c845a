-- The distinct nodes that hold a user's live connections.
local function liveNodes(routesKey, nowText)
  local nodes, seen = {}, {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', routesKey, nowText, '+inf')) do
    local node = string.match(member, '^%d+/([^/]+)/')
    if not seen[node] then
      seen[node] = true
      nodes[#nodes + 1] = node
    end
  end
  return nodes
end
