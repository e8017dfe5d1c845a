#!lua flags=allow-oom
-- reconcile: finds users with open messages that hang and drives them on, and empties the inboxes of idle users.
--
-- Every user with an open message is in `due`, and is checked when it is due. A fault in Petrel, or a manual change of
-- the data, may break this: here it is repaired.
--
-- An inbox costs some 5 KB. Once everything in it is acknowledged and nothing has come for `idleMs`, it serves at most
-- a device that comes back late. It is removed, with what was recorded for looks at it. The hash keeps what tells such
-- a device that it has missed something (seq, acked, ended: includes/kept-after). `keepUntil` is removed, so that the
-- next message gives the new inbox its time to live.
--
-- v2: empties idle inboxes, and names the users whose open messages' records nobody has kept (`kept`, see
-- inbox/keep-records.lua) and who are not checked soon.
--
-- KEYS[1] owner · KEYS[2] due, then two for each user: user (hash) · inbox (stream)
-- ARGV[1] token · ARGV[2] overdueMs  how long after its due time a user counts as hanging
-- ARGV[3] idleMs    how long an acknowledged inbox is kept after its last message and acknowledgement
-- then the i-th user's id
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or lines, one for each user: "" if all is well; else reason TAB acked TAB seq TAB note. Reasons:
--   "unwatched"  it has something open and was not in `due`: now it is, at once
--   "overdue"    it was due long ago and nobody has checked
--   "broken"     one of its keys is of another type: nothing can be done here (both numbers are 0)
--   ""           none of these
-- Notes: "unkept", the records of its open messages must be kept (an older release's wake, or one that was cut short,
-- has not done so); "emptied", its inbox was emptied; "" none of these

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local overdueMs, idleMs = tonumber(ARGV[2]), tonumber(ARGV[3])
local SOON_MS = 600000
local lines = {}

-- Whether nothing has happened for that long. (A time in the future was written by a clock that was since set back.)
local function isIdle(inboxKey, ackedAt)
  if math.abs(now - (tonumber(ackedAt) or 0)) < idleMs then return false end
  local newest = redis.pcall('XREVRANGE', inboxKey, '+', '-', 'COUNT', 1)
  if newest.err then return false end
  local at = newest[1] and tonumber(string.match(newest[1][2][2], '^[^\t]*\t(%d+)')) or 0
  return math.abs(now - at) >= idleMs
end

local function empty(userKey, inboxKey)
  redis.call('UNLINK', inboxKey)
  redis.call('HDEL', userKey, 'keepUntil', 'nextExpiry', 'kept', 'received', 'slow', 'nudged', 'nudgedAt', 'ackedAtWake',
    'offered', 'offeredBy', 'unheardAt', 'graceFrom', 'spared', 'expiryLookFrom', 'endsWrittenAt')
end

for i = 1, (#KEYS - 2) / 2 do
  local userKey, inboxKey, userId = KEYS[1 + 2 * i], KEYS[2 + 2 * i], ARGV[3 + i]
  local user = redis.pcall('HMGET', userKey, 'seq', 'acked', 'kept', 'ackedAt')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  lines[i] = ''
  if user.err then
    lines[i] = 'broken\t0\t0\t'
  elseif seq and acked and acked < seq then
    local score = tonumber(redis.call('ZSCORE', KEYS[2], userId))
    local reason = ''
    if not score then
      reason = 'unwatched'
      redis.call('ZADD', KEYS[2], ms(now), userId)
    elseif now - score > overdueMs then
      reason = 'overdue'
    end
    local isUnkept = (tonumber(user[3]) or 0) < seq and (not score or math.abs(score - now) > SOON_MS)
    if reason ~= '' or isUnkept then
      lines[i] = reason .. '\t' .. user[2] .. '\t' .. user[1] .. '\t' .. (isUnkept and 'unkept' or '')
    end
  elseif seq and acked and redis.call('EXISTS', inboxKey) == 1 and isIdle(inboxKey, user[4]) then
    empty(userKey, inboxKey)
    lines[i] = '\t' .. user[2] .. '\t' .. user[1] .. '\temptied'
  end
end
return table.concat(lines, '\n')
