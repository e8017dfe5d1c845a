-- The distinct nodes that hold a user's live connections, and whether a socket has just closed and counts as on its way
-- back: its member has "-" for a node, see nodes/leave.lua.
local function liveNodes(routesKey, nowText)
  local members = redis.call('ZRANGEBYSCORE', routesKey, nowText, '+inf')
  if #members == 0 then return members, false end
  local nodes, seen, isExpected = {}, {}, false
  for _, member in ipairs(members) do
    local node = string.match(member, '^%d+/([^/]+)/')
    if node == '-' then
      isExpected = true
    elseif not seen[node] then
      seen[node] = true
      nodes[#nodes + 1] = node
    end
  end
  return nodes, isExpected
end
