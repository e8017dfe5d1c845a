#!lua flags=allow-oom
-- set-back: after the clock was set back, moves times that were written before it to where the new clock has them.
--
-- A time ahead may also have been written since, by the new clock. It is moved all the same, and comes early: a user
-- who is woken early is armed again, and a retry is made early. Leases differ. A grace lease is moved only if it
-- ends further ahead than a usual one, and a connection's lease not at all: a live node renews it, and a dead one does
-- not listen. An expiry stays too: the old clock promised that moment.
-- Allowed when Redis is out of memory: it moves, and does not add.
--
-- KEYS[1] owner · KEYS[2] generation · KEYS[3] due · KEYS[4] retries · KEYS[5..7] fallback streams
-- then two for each user: user (hash) · routes (sorted set)
-- ARGV[1] token · ARGV[2] backMs · ARGV[3] group   of the fallback's workers
-- ARGV[4] retriesFrom  the score from which this call moves retries, some of them; "" for users only
-- ARGV[5] limit        retries in a call
-- then the i-th user's id
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or where the next call's retries begin, "" if there are none any more

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local back, group = tonumber(ARGV[2]), ARGV[3]
local GRACE_MS = 3000
local function moved(time) return ms(math.max(now, tonumber(time) - back)) end

-- Times noted for a user: only those that are still to come are certain to be the former clock's.
local NOTED = { 'nudgedAt', 'spared', 'unheardAt', 'graceFrom', 'ackedAt' }
local function moveUser(userKey)
  local changes = {}
  for i, value in ipairs(redis.call('HMGET', userKey, unpack(NOTED))) do
    local time = tonumber(value)
    if time and time > now then
      changes[#changes + 1] = NOTED[i]
      changes[#changes + 1] = ms(math.max(0, time - back))
    end
  end
  if #changes > 0 then redis.call('HSET', userKey, unpack(changes)) end
end

local function moveGrace(routesKey)
  local ahead = redis.call('ZRANGEBYSCORE', routesKey, '(' .. ms(now + GRACE_MS), '+inf', 'WITHSCORES')
  for i = 1, #ahead, 2 do
    if string.match(ahead[i], '^%d+/%-/') then redis.call('ZADD', routesKey, 'XX', moved(ahead[i + 1]), ahead[i]) end
  end
end

-- An entry that a worker holds since a future moment would count as held for that much longer.
local function touchPending(stream)
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1000)
  if pending.err then return end -- no group yet
  for _, entry in ipairs(pending) do
    if entry[3] == 0 then redis.call('XCLAIM', stream, group, entry[2], 0, entry[1], 'IDLE', 0, 'JUSTID') end
  end
end

for i = 1, (#KEYS - 7) / 2 do
  local userKey, routesKey, userId = KEYS[6 + 2 * i], KEYS[7 + 2 * i], ARGV[5 + i]
  local score = tonumber(redis.call('ZSCORE', KEYS[3], userId))
  if score and score > now then redis.call('ZADD', KEYS[3], 'XX', moved(score), userId) end
  moveUser(userKey)
  moveGrace(routesKey)
end
if ARGV[4] == '' then return '' end

local since = tonumber(redis.call('HGET', KEYS[2], 'since'))
if since and since > now then redis.call('HSET', KEYS[2], 'since', ms(math.max(0, since - back))) end
for k = 5, 7 do touchPending(KEYS[k]) end
local from = math.max(tonumber(ARGV[4]), now + 1)
local retries = redis.call('ZRANGEBYSCORE', KEYS[4], ms(from), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])
for i = 1, #retries, 2 do redis.call('ZADD', KEYS[4], 'XX', moved(retries[i + 1]), retries[i]) end
-- In rising order, and each falls: a retry that was moved is not met again.
return #retries == 2 * tonumber(ARGV[5]) and retries[#retries] or ''
