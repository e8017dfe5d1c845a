#!lua flags=allow-oom
-- wake: looks after users whose `due` has come.
--
-- KEYS[1] owner · KEYS[2] due, then two for each user: user (hash) · routes (sorted set)
-- ARGV[1] token · ARGV[2] ackTimeoutMs · ARGV[3] channel (what a node's channel name begins with)
-- then the i-th user's id
--
-- Refuses before its first write where the token is not the owner's or the lease is over. Never pops: a user leaves
-- `due` only when everything it has is acked; else it is armed again in the same step.
-- Allowed where Redis is out of memory: it adds next to nothing, and acks, which free it, follow a nudge.
--
-- Result: "stale", or lines, one for each user:
--   "done"      nothing is open any more
--   "later"     not due any more, or acked something since it was armed: armed again
--   "offline"   no live route: armed for its next expiry
--   "nudged"    a node that holds it was told to catch up
--   "unheard"   it has routes, but nobody listened on their nodes' channels
-- each followed by TAB "expire" where a message's time is over and the caller should write its end

--@include server-time
--@include refuse-stale
--@include live-nodes
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local ackTimeoutMs, channel = tonumber(ARGV[2]), ARGV[3]
local outcomes, expires, nodesOf = {}, {}, {}
local forNode, nodes = {}, {} -- node -> { user, … } and the nodes in the order of their first user

for i = 1, (#KEYS - 2) / 2 do
  local userKey, routesKey, userId = KEYS[i * 2 + 1], KEYS[i * 2 + 2], ARGV[3 + i]
  local score = tonumber(redis.call('ZSCORE', KEYS[2], userId))
  local user = redis.call('HMGET', userKey, 'seq', 'acked', 'ackedAtWake', 'ackedAt', 'nextExpiry')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  local ackedAtWake, ackedAt = tonumber(user[3]), tonumber(user[4]) or 0
  local nextExpiry = tonumber(user[5]) or now + ackTimeoutMs

  if not score or score > now then
    outcomes[i] = 'later'
  elseif not seq or acked >= seq then
    redis.call('ZREM', KEYS[2], userId)
    outcomes[i] = 'done'
  else
    local again = now + ackTimeoutMs
    local live = liveNodes(routesKey, ms(now))
    -- What was acked before this user was armed says nothing of the messages that it was armed for: one who had been
    -- idle would otherwise be nudged a whole timeout late.
    local alive = ackedAtWake ~= acked and ackedAt > score - ackTimeoutMs
    if #live == 0 then
      outcomes[i] = 'offline'
      again = math.max(nextExpiry, again)
    elseif alive then
      redis.call('HSET', userKey, 'ackedAtWake', ms(acked))
      outcomes[i] = 'later'
    else
      redis.call('HSET', userKey, 'ackedAtWake', ms(acked), 'nudged', ms(seq))
      outcomes[i] = 'unheard'
      nodesOf[i] = live
      for _, node in ipairs(live) do
        if not forNode[node] then
          forNode[node] = {}
          nodes[#nodes + 1] = node
        end
        table.insert(forNode[node], userId)
      end
    end
    expires[i] = nextExpiry <= now
    redis.call('ZADD', KEYS[2], ms(again), userId)
  end
end

local reached = {}
for _, node in ipairs(nodes) do
  reached[node] = redis.call('SPUBLISH', channel .. node, 'nudge\n' .. table.concat(forNode[node], '\n')) > 0
end
for i = 1, #outcomes do
  for _, node in ipairs(nodesOf[i] or {}) do
    if reached[node] then outcomes[i] = 'nudged' end
  end
  if expires[i] then outcomes[i] = outcomes[i] .. '\texpire' end
end
return table.concat(outcomes, '\n')
