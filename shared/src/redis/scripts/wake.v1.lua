-- wake: looks after users whose `due` has come.
--
-- KEYS[1] owner · KEYS[2] due, then two for each user: user (hash) · routes (sorted set)
-- ARGV[1] token · ARGV[2] ackTimeoutMs · ARGV[3] channel (what a node's channel name begins with)
-- then the i-th user's id
--
-- Refuses before its first write where the token is not the owner's or the lease is over. Never pops: a user leaves
-- `due` only when everything it has is acked; else it is armed again in the same step.
--
-- Result: "stale", or lines, one for each user:
--   "done"      nothing is open any more
--   "later"     not due any more, or acked something since the last wake: armed again
--   "offline"   no live route: armed for its next expiry
--   "nudged"    a node that holds it was told to catch up
--   "unheard"   it has routes, but nobody listened on their nodes' channels
-- each followed by TAB "expire" where a message's time is over and the caller should write its end

--@include server-time
--@include refuse-stale
--@include live-nodes
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local ackTimeoutMs, channel = tonumber(ARGV[2]), ARGV[3]
local lines = {}

for i = 1, (#KEYS - 2) / 2 do
  local userKey, routesKey, userId = KEYS[i * 2 + 1], KEYS[i * 2 + 2], ARGV[3 + i]
  local score = tonumber(redis.call('ZSCORE', KEYS[2], userId))
  local user = redis.call('HMGET', userKey, 'seq', 'acked', 'ackedAtWake', 'nextExpiry')
  local seq, acked, ackedAtWake = tonumber(user[1]), tonumber(user[2]), tonumber(user[3])
  local nextExpiry = tonumber(user[4]) or now + ackTimeoutMs

  if not score or score > now then
    lines[i] = 'later'
  elseif not seq or acked >= seq then
    redis.call('ZREM', KEYS[2], userId)
    lines[i] = 'done'
  else
    local again = now + ackTimeoutMs
    local nodes = liveNodes(routesKey, ms(now))
    if #nodes == 0 then
      lines[i] = 'offline'
      again = math.max(nextExpiry, again)
    elseif ackedAtWake ~= acked then
      redis.call('HSET', userKey, 'ackedAtWake', ms(acked))
      lines[i] = 'later'
    else
      redis.call('HSET', userKey, 'nudged', ms(seq))
      lines[i] = 'unheard'
      for _, node in ipairs(nodes) do
        if redis.call('SPUBLISH', channel .. node, 'nudge\n' .. userId) > 0 then lines[i] = 'nudged' end
      end
    end
    if nextExpiry <= now then lines[i] = lines[i] .. '\texpire' end
    redis.call('ZADD', KEYS[2], ms(again), userId)
  end
end
return table.concat(lines, '\n')
