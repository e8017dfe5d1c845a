#!lua flags=allow-oom
-- connect: registers a connection and says where its user's messages go on.
--
-- Registering and reading the cursor are one step. A message numbered before it lies within the returned seq, and is
-- read from the inbox; a message numbered after it finds the route. The same step checks whether the token is revoked:
-- an earlier revocation is seen here, and a later one finds the connection on its node, which had it before it called
-- this.
--
-- A session policy applies before the limit: a connection that a sign-in elsewhere replaces takes no slot.
--
-- v2: where what the client lacks was trimmed, its messages go on after that (`after`), and it is told so; one that has
-- much to catch up with is noted as behind (inbox/hold-history.lua); a position that moves `acked` trims as an ack
-- does; a platform with the name of a mark is no mark (includes/route-member).
--
-- v3: it answers the topics that the server keeps for the user, and notes when the user was last there
-- (presence/read-last-seen.lua).
--
-- v4: it answers which of the user's messages were taken back lately (recall/cancel-message.lua).
--
-- KEYS[1] user · KEYS[2] inbox · KEYS[3] routes · KEYS[4] due · KEYS[5] generation
-- KEYS[6] tokenGeneration · KEYS[7] revokedSession · KEYS[8] revokedToken   of the connection's token
-- KEYS[9] kept topics (hash: topic -> since)
-- ARGV[1] userId · ARGV[2] node · ARGV[3] connection · ARGV[4] platform
-- ARGV[5] connectTimeMs  "" for a new connection; its own for one that registers again
-- ARGV[6] leaseMs
-- ARGV[7] limit          connections a user may have
-- ARGV[8] policy         "evict": the oldest goes · "refuse": the newcomer goes
-- ARGV[9] seed           8 random characters, for the epoch of a user seen for the first time
-- ARGV[10] clientEpoch · ARGV[11] since   the position that the client claims; "" for none
-- ARGV[12] keepMs        how long a user's hash outlives the last use
-- ARGV[13] channel       prefix of a node's channel name
-- ARGV[14] ackTimeoutMs  when the user is looked at next, if anything is open
-- ARGV[15] leaving       "1" where the connection's node stops: see nodes/mark-leaving.lua; "" else
-- ARGV[16] tokenGeneration   the token's own; "" where there is no token to check
-- ARGV[17] sessionPolicy     "multi" · "one-per-platform" · "one": how many sign-ins of a user stay, the newest
-- ARGV[18] notAfterMs        server ms: the caller has given up by then; "" for no such time
-- ARGV[19] history · ARGV[20] slowHistory   as in inbox/ack.lua
-- ARGV[21] behindFrom        from this many messages on a connection is behind, until its node says otherwise
--
-- Result: "ok" TAB member TAB epoch TAB seq TAB after TAB resumed (0|1) TAB acked TAB kept topics, joined by "," TAB
--   recalls: "", or up to where clients had acknowledged "," seq SPACE id "," …, oldest first
--   "late"                       it is after notAfterMs; nothing was changed
--   "revoked"                    its token is revoked; nothing was changed
--   "elsewhere" TAB platform     it registers again, and there is a newer sign-in, on that platform; nothing was added
--   "refused" TAB connections    the limit is reached; nothing was added

--@include token-revoked
if ARGV[16] ~= '' and tokenRevoked(KEYS[6], KEYS[7], KEYS[8], ARGV[16]) then return 'revoked' end

--@include server-time
-- A call that was stuck on its way must not take the slot of the connection that its client has opened since.
if ARGV[18] ~= '' and now > tonumber(ARGV[18]) then return 'late' end

--@include current-generation
--@include missing-user
--@include kept-after
--@include slow-readers
--@include route-member

local dayMs = 86400000

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ms(now))

-- By connect time, which leads the member: the score is the lease's end and says nothing about age.
local connectTime = ARGV[5] == '' and now or tonumber(ARGV[5])
local leaving = ARGV[15] == '1'
local function memberAt(time)
  local plain = string.format('%013d', time) .. '/' .. ARGV[2] .. '/' .. ARGV[3] .. '/' .. ARGV[4]
  return leaving and plain .. '/leaving' or plain
end
local member = memberAt(connectTime)
local members = redis.call('ZRANGE', KEYS[3], 0, -1)
-- A lease that ends further ahead than its length was written by a clock that was since set back. A dead one must not
-- count against the limit for that much longer.
if #members > 0 then
  local latest = ms(now + tonumber(ARGV[6]))
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. latest, '+inf')) do
    redis.call('ZADD', KEYS[3], 'XX', latest, ahead)
  end
end
local others = {}
for _, other in ipairs(members) do
  if string.match(other, '^%d+/%-/') then
    -- The grace lease of a socket that has closed: somebody is there again.
    redis.call('ZREM', KEYS[3], other)
  elseif other ~= member and not isMarkedLeaving(other) then
    others[#others + 1] = other
  end
end

-- The connections that this one replaces, each with the reason. A leaving connection replaces none, and none replaces
-- it.
local replaced = {}
if not leaving then
  if ARGV[5] == '' then
    -- The newcomer is the newest, even within one millisecond or on a clock that was set back.
    for _, other in ipairs(others) do
      connectTime = math.max(connectTime, tonumber(string.match(other, '^%d+')) + 1)
    end
    member = memberAt(connectTime)
  end
  local kept, newest = others, member
  if ARGV[17] ~= 'multi' then
    kept = {}
    for _, other in ipairs(others) do
      if ARGV[17] == 'one-per-platform' and platformOf(other) ~= ARGV[4] then
        kept[#kept + 1] = other
      else
        replaced[#replaced + 1] = { other, 'elsewhere' }
        if other > newest then newest = other end
      end
    end
    if newest ~= member then return 'elsewhere\t' .. platformOf(newest) end
  end
  local limit = tonumber(ARGV[7])
  if #kept >= limit then
    if ARGV[8] == 'refuse' then return 'refused\t' .. #kept end
    kept[#kept + 1] = member
    table.sort(kept)
    for i = 1, #kept - limit do
      if kept[i] == member then return 'refused\t' .. (#kept - 1) end
      replaced[#replaced + 1] = { kept[i], 'limit' }
    end
  end
end
for _, one in ipairs(replaced) do
  redis.call('ZREM', KEYS[3], one[1])
  local node, connection = string.match(one[1], '^%d+/([^/]+)/([^/]+)/')
  redis.call('SPUBLISH', ARGV[13] .. node, table.concat({ 'evict\n' .. ARGV[1], connection, one[2], ARGV[4] }, '\t'))
end
local leaseMs = tonumber(ARGV[6])
redis.call('ZADD', KEYS[3], ms(now + leaseMs), member)
-- Where no connection is left to prune it, the whole set ends by itself.
redis.call('PEXPIRE', KEYS[3], ms(2 * leaseMs))

local generation = currentGeneration(KEYS[5])

local user = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'acked', 'generation', 'unheardAt', 'slow', 'recalls', 'ended')
local seq, epoch, acked = tonumber(user[1]), user[2], tonumber(user[3])
if not seq then
  seq, acked, epoch = missingUser(KEYS[2], ARGV[9])
  redis.call('HSET', KEYS[1], 'seq', ms(seq), 'epoch', epoch, 'acked', ms(acked), 'generation', generation)
  -- A rebuilt user's open messages may expire at any time: the next wake reads all of them.
  if acked < seq then redis.call('HSET', KEYS[1], 'nextExpiry', ms(now)) end
elseif user[4] ~= generation then
  epoch = nextEpoch(epoch, ARGV[9])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'generation', generation)
end
if user[5] then redis.call('HDEL', KEYS[1], 'unheardAt') end
redis.call('HSET', KEYS[1], 'seenAt', ms(now))
-- Left as it is: only accept extends the inbox's time to live, and `keepUntil` says until when it did.
redis.call('PEXPIRE', KEYS[1], ms(tonumber(ARGV[12]) + 2 * dayMs))

local since = tonumber(ARGV[11])
local after, resumed = acked, '0'
local slow = user[6]
if since and ARGV[10] == epoch and since <= seq then
  local floor = keptAfter(KEYS[1], KEYS[2], since)
  after, resumed = floor or since, floor and '0' or '1'
  if since > acked then
    acked = since
    redis.call('HSET', KEYS[1], 'acked', ms(since), 'ackedAt', ms(now))
    if acked == seq then redis.call('ZREM', KEYS[4], ARGV[1]) end
    trimAcked(KEYS[2], acked, tonumber(ARGV[19]), tonumber(ARGV[20]), slow)
  end
end
if ARGV[5] == '' and seq - after >= tonumber(ARGV[21]) then
  redis.call('HSET', KEYS[1], 'slow', withReader(slow, ARGV[3], after))
end
-- Someone is there to be nudged now: the next look need not wait for an expiry.
if acked < seq then
  redis.call('ZADD', KEYS[4], 'LT', ms(now + tonumber(ARGV[14])), ARGV[1])
end
local kept = table.concat(redis.call('HKEYS', KEYS[9]), ',')
local recalls = user[7] or ''
if recalls ~= '' then
  local endedFrom, endedTo = string.match(user[8] or '', '^(%d+) (%d+)$')
  recalls = (endedTo and endedTo == user[3] and endedFrom or user[3]) .. ',' .. recalls
end
return table.concat({ 'ok', member, epoch, ms(seq), ms(after), resumed, ms(acked), kept, recalls }, '\t')
