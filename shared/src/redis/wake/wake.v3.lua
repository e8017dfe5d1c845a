#!lua flags=allow-oom
-- wake: handles users who are due: nudges those who are connected, and offers to the fallback what was not acknowledged
-- in time, or belongs to a user who is away.
--
-- KEYS[1] owner · KEYS[2] due · KEYS[3] generation · KEYS[4..6] fallback streams: high, normal, low
-- then three for each user: user (hash) · inbox (stream) · routes (sorted set)
-- ARGV[1] token · ARGV[2] ackTimeoutMs · ARGV[3] channel (prefix of a node's channel name)
-- ARGV[4] absenceInMs · ARGV[5] settleMs · ARGV[6] confirmMs · ARGV[7] fallbackCap   as in wake/offer.lua
-- then the i-th user's id
--
-- Refuses before its first write if the token is not the owner's, or the lease is over. Never pops: a user leaves
-- `due` only when all of its messages are acked; else the same step arms it again.
-- A message is offered once it was nudged and a whole ackTimeout has gone by since: each gets one to two ackTimeouts.
-- Allowed when Redis is out of memory: it adds almost nothing, and a nudge brings acks, which free memory.
-- Since v2: messages of a full fallback stream wait (includes/offer-messages says what is stored), and an offline user
-- is checked again after some ackTimeouts; "expire" applies `expiryLookFrom`, which find-expired stores.
--
-- Since v3: a user may be in `due` for messages that were acknowledged since (inbox/ack.lua). What came later is
-- judged by its own age, so that it too gets one to two ackTimeouts. `acked` moves over numbers that were removed from
-- the inbox (includes/taken-out).
--
-- Result: "stale", or lines, one for each user: outcome TAB "expire" or "" TAB number offered, with "+" behind it if
-- a full stream delays others TAB nodes joined by "," [TAB the sampled ones of the offered: id SPACE trace, joined by
-- ","]
--   "done"      nothing is open any more
--   "later"     not due any more, nudged or back a moment ago, or acked something since it was armed: armed again
--   "offline"   no live route: all its open messages were offered; armed for its next expiry
--   "grace"     its socket has just closed: armed for the end of the grace lease; but a user who comes and goes for two
--               ackTimeouts without acknowledging anything is not on the way back
--   "unsettled" no live route, but absence proves nothing yet: armed for when it does
--   "nudged"    a node that holds it was told to catch up; what was nudged before was offered
--   "unheard"   it has routes, but its nodes' channels had no subscriber: armed for when that is confirmed; once
--               confirmed, all its open messages were offered. Its nodes are named.
-- "expire": a message has expired, and the caller should write its end.

--@include server-time
--@include refuse-stale
--@include current-generation
--@include live-nodes
--@include grace-end
--@include still-unheard
--@include trace-of
--@include offer-messages
--@include taken-out
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local ackTimeoutMs, channel, confirmMs = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[6])
local fallbackCap = tonumber(ARGV[7])
local _, since = currentGeneration(KEYS[3])
-- (A clock that was set back does not make the wait longer.)
local absenceIn = math.max(tonumber(ARGV[4]), math.min(since + tonumber(ARGV[5]) - now, tonumber(ARGV[5])), 0)
local streams = { h = KEYS[4], n = KEYS[5], l = KEYS[6] }
local BACK_MS = math.min(2000, ackTimeoutMs)
-- How long to wait while a stream is full: its workers have much to do first.
local FULL_MS = 4 * ackTimeoutMs
local lines = {}
local toNudge = {}            -- users to nudge, with what is known of each
local forNode, nodes = {}, {} -- node -> { user, … } and the nodes in the order of their first user

local function answer(i, outcome, isOver, offeredText, itsNodes, traced)
  lines[i] = outcome .. '\t' .. (isOver and 'expire' or '') .. '\t' .. (offeredText or '0') .. '\t' .. (itsNodes or '')
    .. (traced or '')
end
-- Whether a connection was made after the nudge, and only just now.
local function isJustBack(routesKey, nudgedAt)
  for _, member in ipairs(redis.call('ZREVRANGE', routesKey, 0, -1)) do
    local connectedAt = tonumber(string.match(member, '^%d+'))
    if connectedAt > nudgedAt and now - connectedAt < BACK_MS then return true end
  end
  return false
end
-- When the user's oldest open message was accepted, or nil.
local function oldestOpenAt(inboxKey, acked, seq)
  local entry = redis.call('XRANGE', inboxKey, ms(acked + 1) .. '-0', ms(seq) .. '-0', 'COUNT', 1)[1]
  return entry and tonumber(string.match(entry[2][2], '^[^\t]*\t(%d+)'))
end
local function arm(userId, at) redis.call('ZADD', KEYS[2], ms(at), userId) end

for i = 1, (#KEYS - 6) / 3 do
  local userKey, inboxKey, routesKey = KEYS[i * 3 + 4], KEYS[i * 3 + 5], KEYS[i * 3 + 6]
  local userId = ARGV[7 + i]
  local score = tonumber(redis.call('ZSCORE', KEYS[2], userId))
  local user = redis.call('HMGET', userKey, 'seq', 'acked', 'ackedAtWake', 'ackedAt', 'nextExpiry', 'offered', 'nudged',
    'nudgedAt', 'unheardAt', 'graceFrom', 'spared', 'offeredBy', 'expiryLookFrom', 'takenOut', 'ended')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  local ackedAtWake, ackedAt = tonumber(user[3]), tonumber(user[4]) or 0
  local nextExpiry = tonumber(user[5]) or now + ackTimeoutMs
  local offered, nudgedAt, unheardAt = tonumber(user[6]), tonumber(user[8]), stillUnheard(user[9], confirmMs, user[4])
  -- A look at a long inbox is expensive: inbox/find-expired.lua says when the next one may be, unless the clock was set
  -- back.
  local lookFrom = tonumber(user[13]) or 0
  if lookFrom - now > 60000 then lookFrom = 0 end
  nextExpiry = math.max(nextExpiry, lookFrom)
  local isOver = nextExpiry <= now
  if seq and (tonumber(user[14]) or 0) > acked and score and score <= now then
    local over = overTakenOut(inboxKey, acked, seq)
    if over > acked then redis.call('HSET', userKey, 'acked', ms(over), 'ended', endedUpTo(user[15], acked, over)) end
    acked = over
  end

  if not score or score > now then
    answer(i, 'later')
  elseif not seq or acked >= seq then
    redis.call('ZREM', KEYS[2], userId)
    answer(i, 'done')
  else
    local live, isExpected = liveNodes(routesKey, ms(now))
    -- An ack from before this user was armed says nothing of the messages that it was armed for: a user who had been
    -- idle would otherwise be nudged a whole timeout late.
    local alive = ackedAtWake ~= acked and ackedAt > score - ackTimeoutMs
    local lookAt = now + ackTimeoutMs
    if alive and #live > 0 then
      local openAt = oldestOpenAt(inboxKey, acked, seq)
      -- Nor does it say anything of messages that came after it: those have their own time. (One that was accepted in
      -- the future, by a clock that was since set back, has none.)
      if openAt and openAt > ackedAt and openAt <= now then
        lookAt = openAt + ackTimeoutMs
        alive = lookAt > now
      end
    end
    local sinceNudge = nudgedAt and now - nudgedAt
    local graceFrom = tonumber(user[10])
    if graceFrom and (graceFrom > now or ackedAt >= graceFrom) then graceFrom = nil end
    if #live == 0 and isExpected and not (graceFrom and now - graceFrom > 2 * ackTimeoutMs) then
      if not graceFrom then redis.call('HSET', userKey, 'graceFrom', ms(now)) end
      arm(userId, graceEnd(routesKey) + 1)
      answer(i, 'grace', isOver)
    elseif #live == 0 and absenceIn > 0 then
      arm(userId, now + absenceIn)
      answer(i, 'unsettled', isOver)
    elseif #live == 0 then
      local count, status, progressed, traced = offerMessages(streams, fallbackCap, {
        userKey = userKey, inboxKey = inboxKey, userId = userId, acked = acked, offered = offered, offeredBy = user[12],
      }, seq)
      if user[10] and status == 'complete' then redis.call('HDEL', userKey, 'graceFrom') end
      local nextLook = math.max(nextExpiry, now + ackTimeoutMs)
      if status == 'waits' then nextLook = math.min(nextLook, now + FULL_MS) end
      -- A user for whom this call had no room keeps its turn, ahead of those who got part of it.
      if status ~= 'more' then arm(userId, nextLook) elseif progressed then arm(userId, now) end
      answer(i, 'offline', isOver, count, nil, traced)
    elseif not unheardAt and sinceNudge and sinceNudge >= 0 and sinceNudge < ackTimeoutMs then
      -- Woken early, for an expiry or a new message: what was nudged still has time.
      arm(userId, nudgedAt + ackTimeoutMs)
      answer(i, 'later', isOver)
    elseif not unheardAt and alive then
      redis.call('HSET', userKey, 'ackedAtWake', ms(acked))
      arm(userId, lookAt)
      answer(i, 'later', isOver)
    elseif not unheardAt and nudgedAt and user[11] ~= user[8] and isJustBack(routesKey, nudgedAt)
      and math.min(tonumber(user[7]), seq) > math.max(acked, offered or 0) then
      -- Its new connection brought what was nudged. It gets a moment to acknowledge that, once for each nudge.
      redis.call('HSET', userKey, 'spared', user[8])
      arm(userId, now + BACK_MS)
      answer(i, 'later', isOver)
    else
      toNudge[#toNudge + 1] = {
        i = i, userId = userId, userKey = userKey, inboxKey = inboxKey, live = live, seq = seq, acked = acked,
        offered = offered, offeredBy = user[12], nudged = tonumber(user[7]), unheardAt = unheardAt, graceFrom = user[10], isOver = isOver,
      }
      for _, node in ipairs(live) do
        if not forNode[node] then
          forNode[node] = {}
          nodes[#nodes + 1] = node
        end
        table.insert(forNode[node], userId)
      end
    end
  end
end

local reached = {}
for _, node in ipairs(nodes) do
  reached[node] = redis.call('SPUBLISH', channel .. node, 'nudge\n' .. table.concat(forNode[node], '\n')) > 0
end
for _, u in ipairs(toNudge) do
  local heard = false
  for _, node in ipairs(u.live) do heard = heard or reached[node] end
  local confirmed = u.unheardAt and now - u.unheardAt >= confirmMs and absenceIn == 0
  local count, status, traced, _ = '0', 'complete', nil, nil
  if heard then
    if u.nudged then
      count, status, _, traced = offerMessages(streams, fallbackCap, u, math.min(u.nudged, u.seq))
    end
    -- (A message that waits for a full stream is offered at a later nudge: it is below `nudged` then too.)
    if status ~= 'more' then
      redis.call('HSET', u.userKey, 'ackedAtWake', ms(u.acked), 'nudged', ms(u.seq), 'nudgedAt', ms(now))
    end
    if u.unheardAt then redis.call('HDEL', u.userKey, 'unheardAt') end
    if u.graceFrom then redis.call('HDEL', u.userKey, 'graceFrom') end
    arm(u.userId, status == 'more' and now or now + ackTimeoutMs)
    answer(u.i, 'nudged', u.isOver, count, nil, traced)
  else
    if confirmed then
      count, status, _, traced = offerMessages(streams, fallbackCap, u, u.seq)
      arm(u.userId, status == 'more' and now or now + (status == 'waits' and FULL_MS or ackTimeoutMs))
    else
      if not u.unheardAt then redis.call('HSET', u.userKey, 'unheardAt', ms(now)) end
      arm(u.userId, math.max((u.unheardAt or now) + confirmMs, now + absenceIn))
    end
    answer(u.i, 'unheard', u.isOver, count, table.concat(u.live, ','), traced)
  end
end
return table.concat(lines, '\n')
