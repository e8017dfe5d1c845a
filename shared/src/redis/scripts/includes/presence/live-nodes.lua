-- The distinct nodes that hold a user's live connections, and whether a socket has just closed and counts as on its way
-- back: its member has "-" for a node, see routes/leave.lua.
--
-- Each message asks. A pattern, `ipairs` and a list that grows cost as much as a small command each: so the connect time
-- (13 digits, and a slash) is skipped by its length, and one member makes a list of one.
local NODE_FROM = 15
local function liveNodes(routesKey, nowText)
  local members = redis.call('ZRANGEBYSCORE', routesKey, nowText, '+inf')
  local count = #members
  if count == 0 then return members, false end
  local first = string.match(members[1], '^[^/]+', NODE_FROM)
  if count == 1 and first ~= '-' then return { first }, false end
  local nodes, seen, isExpected = {}, {}, false
  for i = 1, count do
    local node = string.match(members[i], '^[^/]+', NODE_FROM)
    if node == '-' then
      isExpected = true
    elseif not seen[node] then
      seen[node] = true
      nodes[#nodes + 1] = node
    end
  end
  return nodes, isExpected
end
