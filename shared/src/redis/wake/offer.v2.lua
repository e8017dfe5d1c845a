#!lua flags=allow-oom
-- offer: checks users whom a hand-over did not reach, and offers their open messages to the fallback.
--
-- This step decides who is offline, and offers: a user who has connected in the meantime is not offline, and reads the
-- inbox.
--
-- KEYS[1] owner · KEYS[2] due · KEYS[3] generation · KEYS[4..6] fallback streams: high, normal, low
-- then three for each user: user (hash) · inbox (stream) · routes (sorted set)
-- ARGV[1] token
-- ARGV[2] absenceInMs  how long from now absence proves nothing (the caller's link has just come back); else 0
-- ARGV[3] settleMs     how long absence proves nothing after a change of generation
-- ARGV[4] confirmMs    after how long a node that is alive, but not subscribed, counts as not reached
-- ARGV[5] gone         nodes that were not subscribed a moment ago and had no key, joined by TAB: their routes are
--                      removed, unless the node's channel has a subscriber now (the node has come back in between)
-- ARGV[6] channel      prefix of a node's channel name
-- ARGV[7] fallbackCap  entries that a fallback stream may hold
-- then the i-th user's id
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
-- Allowed when Redis is out of memory: it adds little, within bounds, and a message that is pushed ends.
-- Since v2: a full fallback stream makes its messages wait (includes/offer-messages says what is stored), and a node
-- that has come back keeps its routes.
--
-- Result: "stale", or lines, one for each user: outcome TAB number offered, with "+" behind it if a full stream
-- delays others [TAB the sampled ones: id SPACE trace, joined by ","], where the outcome is
--   "done"      nothing is open
--   "offered"   offline: all it has open was offered, or `due` brings the rest: at once, or later if a stream is
--               full
--   "grace"     its socket has just closed: `due` looks again when the grace lease is over
--   "unheard"   it has a route on a node that is alive: `due` looks again when that can be confirmed
--   "unsettled" absence proves nothing yet: `due` looks again when it does

--@include server-time
--@include refuse-stale
--@include current-generation
--@include live-nodes
--@include grace-end
--@include still-unheard
--@include trace-of
--@include offer-messages
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local _, since = currentGeneration(KEYS[3])
-- (A clock that was set back does not make the wait longer.)
local absenceIn = math.max(tonumber(ARGV[2]), math.min(since + tonumber(ARGV[3]) - now, tonumber(ARGV[3])), 0)
local confirmMs = tonumber(ARGV[4])
local fallbackCap = tonumber(ARGV[7])
local streams = { h = KEYS[4], n = KEYS[5], l = KEYS[6] }
local gone, lines = {}, {}
for node in string.gmatch(ARGV[5], '[^\t]+') do
  -- A node subscribes before it registers: without a subscriber no route can be a fresh one.
  gone[node] = redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[6] .. node)[2] == 0 or nil
end

for i = 1, (#KEYS - 6) / 3 do
  local userKey, inboxKey, routesKey = KEYS[i * 3 + 4], KEYS[i * 3 + 5], KEYS[i * 3 + 6]
  local userId = ARGV[7 + i]
  local user = redis.call('HMGET', userKey, 'seq', 'acked', 'offered', 'unheardAt', 'ackedAt', 'offeredBy')
  local seq, acked, offered, unheardAt =
    tonumber(user[1]), tonumber(user[2]), tonumber(user[3]), stillUnheard(user[4], confirmMs, user[5])
  if not seq or acked >= seq then
    lines[i] = 'done\t0'
  else
    if next(gone) and absenceIn == 0 then
      for _, member in ipairs(redis.call('ZRANGE', routesKey, 0, -1)) do
        if gone[string.match(member, '^%d+/([^/]+)/')] then redis.call('ZREM', routesKey, member) end
      end
    end
    local live, isExpected = liveNodes(routesKey, ms(now))
    local lookAt, outcome
    if absenceIn > 0 then
      outcome, lookAt = 'unsettled', now + absenceIn
    elseif #live > 0 and not (unheardAt and now - unheardAt >= confirmMs) then
      outcome, lookAt = 'unheard', (unheardAt or now) + confirmMs
      if not unheardAt then redis.call('HSET', userKey, 'unheardAt', ms(now)) end
    elseif #live == 0 and isExpected then
      outcome, lookAt = 'grace', graceEnd(routesKey) + 1
    end
    if outcome then
      redis.call('ZADD', KEYS[2], 'LT', ms(lookAt), userId)
      lines[i] = outcome .. '\t0'
    else
      local count, status, _, traced = offerMessages(streams, fallbackCap, {
        userKey = userKey, inboxKey = inboxKey, userId = userId, acked = acked, offered = offered, offeredBy = user[6],
      }, seq)
      if status == 'more' then redis.call('ZADD', KEYS[2], 'LT', ms(now), userId) end
      lines[i] = 'offered\t' .. count .. traced
    end
  end
end
return table.concat(lines, '\n')
