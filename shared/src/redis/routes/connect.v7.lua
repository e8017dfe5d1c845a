#!lua flags=allow-oom
-- connect: registers connections and returns where their users' messages continue.
--
-- Registering and reading the cursor are one step. A message numbered before it is within the returned seq, and is
-- read from the inbox; a message numbered after it finds the route. The same step checks whether the token is revoked:
-- an earlier revocation is seen here, and a later one finds the connection on its node, which had it before it called
-- this.
--
-- A session policy applies before the limit: a connection that a sign-in elsewhere replaces takes no slot.
--
-- v2: if what the client lacks was trimmed, its messages go on after that (`after`), and it is told so; one that has
-- much to catch up with is noted as behind (inbox/hold-history.lua); a position that moves `acked` trims as an ack
-- does; a platform with the name of a mark is no mark (includes/route-member).
--
-- v3: it answers the topics that the server keeps for the user, and notes when the user was last there
-- (presence/read-last-seen.lua).
--
-- v4: many connections in one call, in order, as if each had its own. A user whose keys Redis refuses does not delay
-- anyone else. How often a user may connect is counted here, in the user's partition. It answers which of the user's
-- messages were recalled lately (recall/cancel-message.lua).
--
-- v5: if `user.online` or `user.offline` is written, a user who comes is put into `online`, with the event; if
-- `message.delivered` is, a position that moves `acked` writes it as an ack does (includes/delivered-events): as far as
-- a call goes, the rest when the node acknowledges it again. The keys for that come last.
--
-- v6: the same in fewer steps. What is asked of a token and of the limit is read in one; a user's hash gets its time to
-- live once a day: `keptOn` is the day of the last time. It gets two days more than it must have.
--
-- v7: fewer commands and texts for a user who comes back. `seenAt` is left as it is for ten minutes: a user who is
-- connected is there, and a connection that closes writes it anyway. The routes are kept for three leases, as by a
-- heartbeat.
--
-- KEYS[1] due · KEYS[2] generation, then for the i-th connection, with k = 8i - 6:
-- KEYS[k+1] user · KEYS[k+2] inbox · KEYS[k+3] routes
-- KEYS[k+4] tokenGeneration · KEYS[k+5] revokedSession · KEYS[k+6] revokedToken   of the connection's token
-- KEYS[k+7] kept topics (hash: topic -> since) · KEYS[k+8] connects (string, see includes/take-one)
-- if such events are written, then: online (sorted set: user -> next look) · events (stream) · event log (hash)
-- ARGV[1] node
-- ARGV[2] leaseMs
-- ARGV[3] limit          connections a user may have
-- ARGV[4] policy         "evict": the oldest is removed · "refuse": the newcomer is refused
-- ARGV[5] sessionPolicy  "multi" · "one-per-platform" · "one": how many sign-ins of a user stay, the newest
-- ARGV[6] seed           8 random characters, for the epoch of a user seen for the first time
-- ARGV[7] keepMs         how long a user's hash outlives the last use
-- ARGV[8] channel        prefix of a node's channel name
-- ARGV[9] ackTimeoutMs   when the user is checked next, if anything is open
-- ARGV[10] history · ARGV[11] slowHistory   as in inbox/ack.lua
-- ARGV[12] behindFrom    from this many messages on a connection is behind, until its node says otherwise
-- ARGV[13] connectLimit  new connections that a user may open in a window; 0: no limit
-- ARGV[14] subMs · ARGV[15] held   of that window, see includes/take-one
-- then for the i-th connection, with a = 9i + 6:
-- ARGV[a+1] userId · ARGV[a+2] connection · ARGV[a+3] platform
-- ARGV[a+4] connectTimeMs   "" for a new connection; its own for one that registers again
-- ARGV[a+5] clientEpoch · ARGV[a+6] since   the position that the client claims; "" for none
-- ARGV[a+7] leaving         "1" if the connection's node stops: see routes/mark-leaving.lua; "" else
-- ARGV[a+8] tokenGeneration the token's own; "" if there is no token to check
-- ARGV[a+9] notAfterMs      server ms: the caller has given up by then; "" for no such time
--
-- if such events are written, then: events  see includes/event-log
--
-- Result: a line for each:
--   "ok" TAB member TAB epoch TAB seq TAB after TAB resumed (0|1) TAB acked TAB kept topics, joined by ","
--     TAB recalls: "", or up to where clients had acknowledged "," seq SPACE id "," …, oldest first
--   "late"                       it is after notAfterMs; nothing was changed
--   "too-often" TAB ms           the user has opened too many; one more may be opened after this long
--   "revoked"                    its token is revoked; nothing was changed but the count of connects
--   "elsewhere" TAB platform     it registers again, and there is a newer sign-in, on that platform; nothing was added
--   "refused" TAB connections    the limit is reached; nothing was added
--   "error" TAB message          what Redis says of this user's keys

--@include server-time
--@include take-one
--@include current-generation
--@include missing-user
--@include kept-after
--@include slow-readers
--@include route-member
--@include of-history
--@include trace-of
--@include event-log
--@include delivered-events

local DAY_MS, SEEN_MS = 86400000, 600000
local node, leaseMs, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local leaseEnd, routesTtl, nowText = ms(now + leaseMs), ms(3 * leaseMs), ms(now)
local today, userTtl = ms(math.floor(now / DAY_MS)), ms(tonumber(ARGV[7]) + 2 * DAY_MS)
local connectLimit, connectSubMs, connectsHeld = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])

-- Asked of Redis once a call.
local generation
local function generationNow()
  if not generation then generation = currentGeneration(KEYS[2]) end
  return generation
end

local count, events, isOnlineKept = math.floor((#KEYS - 2) / 8), nil, false
if (#KEYS - 2) % 8 == 3 then
  events = openEvents(ARGV[#ARGV], KEYS[#KEYS - 1], KEYS[#KEYS], generationNow())
  isOnlineKept = events.isWanted('n') or events.isWanted('o')
end

-- The user's other connections that count. What ended is removed, and so are grace leases: the user is back.
local function pruned(routesKey, member)
  local others, hasEnded = {}, false
  local members = redis.call('ZRANGE', routesKey, 0, -1, 'WITHSCORES')
  for m = 1, #members, 2 do
    local other, ends = members[m], tonumber(members[m + 1])
    if ends < now then
      hasEnded = true
    else
      -- A lease that ends further ahead than its length was written by a clock that was since set back. A dead one must
      -- not count against the limit for that much longer.
      if ends > now + leaseMs then redis.call('ZADD', routesKey, 'XX', leaseEnd, other) end
      if isGraceLease(other) then
        redis.call('ZREM', routesKey, other)
      elseif other ~= member and not isMarkedLeaving(other) then
        others[#others + 1] = other
      end
    end
  end
  if hasEnded then redis.call('ZREMRANGEBYSCORE', routesKey, '-inf', '(' .. nowText) end
  return others
end

-- Makes room for a member among others. Returns what to answer if it is not to be added.
local function makeRoom(routesKey, userId, platform, member, others)
  local replaced, kept, newest = {}, others, member
  if ARGV[5] ~= 'multi' then
    kept = {}
    for _, other in ipairs(others) do
      if ARGV[5] == 'one-per-platform' and platformOf(other) ~= platform then
        kept[#kept + 1] = other
      else
        replaced[#replaced + 1] = { other, 'elsewhere' }
        if other > newest then newest = other end
      end
    end
    if newest ~= member then return 'elsewhere\t' .. platformOf(newest) end
  end
  if #kept >= limit then
    if ARGV[4] == 'refuse' then return 'refused\t' .. #kept end
    kept[#kept + 1] = member
    table.sort(kept)
    for i = 1, #kept - limit do
      if kept[i] == member then return 'refused\t' .. (#kept - 1) end
      replaced[#replaced + 1] = { kept[i], 'limit' }
    end
  end
  for _, one in ipairs(replaced) do
    redis.call('ZREM', routesKey, one[1])
    local at, evicted = string.match(one[1], '^%d+/([^/]+)/([^/]+)/')
    redis.call('SPUBLISH', ARGV[8] .. at, table.concat({ 'evict\n' .. userId, evicted, one[2], platform }, '\t'))
  end
end

local function connect(k, a)
  local userKey, inboxKey, routesKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local userId, connection, platform, givenTime = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local isNew, leaving = givenTime == '', ARGV[a + 7] == '1'

  -- A call that was stuck on its way must not take the slot of the connection that its client has opened since.
  if ARGV[a + 9] ~= '' and now > tonumber(ARGV[a + 9]) then return 'late' end

  local marks = redis.call('MGET', KEYS[k + 8], KEYS[k + 4], KEYS[k + 5], KEYS[k + 6])
  if isNew and connectLimit > 0 then
    local waitMs = takeOne(KEYS[k + 8], marks[1], connectLimit, connectSubMs, connectsHeld)
    if waitMs then return 'too-often\t' .. ms(waitMs) end
  end

  -- As includes/partition/token-revoked: each of these keys is a string.
  local tokenGeneration = ARGV[a + 8]
  if tokenGeneration ~= '' and (marks[3] or marks[4]
    or marks[2] and tonumber(tokenGeneration) < tonumber(marks[2])) then return 'revoked' end

  -- By connect time, which leads the member: the score is the lease's end and says nothing about age.
  local place = '/' .. node .. '/' .. connection .. '/' .. platform
  if leaving then place = place .. '/leaving' end
  local member = memberTime(isNew and now or tonumber(givenTime)) .. place
  local others = pruned(routesKey, member)
  -- A leaving connection replaces none, and none replaces it.
  if others[1] and not leaving then
    if isNew then
      -- The newcomer is the newest, even within one millisecond or on a clock that was set back.
      local connectTime = now
      for _, other in ipairs(others) do
        connectTime = math.max(connectTime, tonumber(string.match(other, '^%d+')) + 1)
      end
      member = memberTime(connectTime) .. place
    end
    local refusal = makeRoom(routesKey, userId, platform, member, others)
    if refusal then return refusal end
  end
  redis.call('ZADD', routesKey, leaseEnd, member)
  -- If no connection is left to prune it, the whole set ends by itself.
  redis.call('PEXPIRE', routesKey, routesTtl)

  local present = generationNow()
  local user = redis.call('HMGET', userKey, 'seq', 'epoch', 'acked', 'generation', 'unheardAt', 'slow', 'recalls', 'ended',
    'keptOn', 'seenAt')
  local seq, epoch, acked = tonumber(user[1]), user[2], tonumber(user[3])
  if not seq then
    seq, acked, epoch = missingUser(inboxKey, ARGV[6])
    redis.call('HSET', userKey, 'seq', ms(seq), 'epoch', epoch, 'acked', ms(acked), 'generation', present, 'seenAt', nowText)
    -- A rebuilt user's open messages may expire at any time: the next wake reads all of them.
    if acked < seq then redis.call('HSET', userKey, 'nextExpiry', nowText) end
  elseif user[4] ~= present then
    epoch = nextEpoch(epoch, ARGV[6])
    redis.call('HSET', userKey, 'epoch', epoch, 'generation', present, 'seenAt', nowText)
  else
    local seenAgoMs = now - (tonumber(user[10]) or 0)
    -- (One from the future is of a clock that was since set back.)
    if seenAgoMs >= SEEN_MS or seenAgoMs < 0 then redis.call('HSET', userKey, 'seenAt', nowText) end
  end
  if user[5] then redis.call('HDEL', userKey, 'unheardAt') end
  -- `keepUntil` is left as it is: only accept extends the inbox's time to live, and it says until when it did.
  if user[9] ~= today then
    redis.call('HSET', userKey, 'keptOn', today)
    redis.call('PEXPIRE', userKey, userTtl)
  end

  local since = tonumber(ARGV[a + 6])
  local after, resumed = acked, '0'
  local slow = user[6]
  if since and ARGV[a + 5] == epoch and since <= seq then
    local floor = keptAfter(userKey, inboxKey, since)
    after, resumed = floor or since, floor and '0' or '1'
    local reached, delivered = since, nil
    if since > acked and events and events.isWanted('d') then
      reached, delivered = findDelivered(inboxKey, userId, acked, since)
    end
    if reached > acked then
      acked = reached
      redis.call('HSET', userKey, 'acked', ms(acked), 'ackedAt', nowText)
      if delivered then writeDelivered(events, delivered) end
      if acked == seq then redis.call('ZREM', KEYS[1], userId) end
      trimAcked(inboxKey, acked, tonumber(ARGV[10]), tonumber(ARGV[11]), slow)
    end
  end
  if isNew and seq - after >= tonumber(ARGV[12]) then
    redis.call('HSET', userKey, 'slow', withReader(slow, connection, after))
  end
  if isOnlineKept and redis.call('ZADD', KEYS[#KEYS - 2], 'NX', ms(now + leaseMs + 1), userId) == 1
    and events.isWanted('n') then
    events.write('n', userId, '', epoch, { events.nextVersion() }, '')
  end
  -- There is a connection to nudge now: the next look need not wait for an expiry.
  if acked < seq then
    redis.call('ZADD', KEYS[1], 'LT', ms(now + tonumber(ARGV[9])), userId)
  end
  local kept = table.concat(redis.call('HKEYS', KEYS[k + 7]), ',')
  local recalls = user[7] or ''
  if recalls ~= '' then
    local endedFrom, endedTo = string.match(user[8] or '', '^(%d+) (%d+)$')
    recalls = (endedTo and endedTo == user[3] and endedFrom or user[3]) .. ',' .. recalls
  end
  return table.concat({ 'ok', member, epoch, ms(seq), ms(after), resumed, ms(acked), kept, recalls }, '\t')
end

local answers = {}
for i = 1, count do
  local ok, answer = pcall(connect, 8 * i - 6, 9 * i + 6)
  answers[i] = ok and answer or 'error\t' .. (type(answer) == 'table' and answer.err or tostring(answer))
end
return table.concat(answers, '\n')
