#!lua flags=allow-oom
-- reconcile: compares what users were given with what of it has ended, and drives on what hangs.
--
-- Every user with an open message is in `due`, and is looked at when its time has come. Whoever breaks this (a fault in
-- Petrel, a hand in the data) is put right here.
-- v2: names whose open messages' records nobody has kept, see scripts/keep-records (`kept`), who are not looked at soon.
--
-- KEYS[1] owner · KEYS[2] due, then the i-th user (hash)
-- ARGV[1] token · ARGV[2] overdueMs  how long after its time a user counts as hanging
-- then the i-th user's id
--
-- Refuses before its first write where the token is not the owner's or the lease is over.
--
-- Result: "stale", or lines, one for each user: "" where all is well; else reason TAB acked TAB seq TAB "unkept" or ""
--   "unwatched"  it has something open and was not in `due`: it is now, at once
--   "overdue"    its time came long ago and nobody has looked
--   "broken"     its key is not a hash: nothing can be done here (both numbers are 0)
--   ""           none of these, but its records are to be kept: an older release's wake, or one that was cut short

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local overdueMs = tonumber(ARGV[2])
local SOON_MS = 600000
local lines = {}
for i = 1, #KEYS - 2 do
  local user = redis.pcall('HMGET', KEYS[i + 2], 'seq', 'acked', 'kept')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  lines[i] = ''
  if user.err then
    lines[i] = 'broken\t0\t0'
  elseif seq and acked and acked < seq then
    local score = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[i + 2]))
    local reason
    if not score then
      reason = 'unwatched'
      redis.call('ZADD', KEYS[2], ms(now), ARGV[i + 2])
    elseif now - score > overdueMs then
      reason = 'overdue'
    end
    local isUnkept = (tonumber(user[3]) or 0) < seq and (not score or math.abs(score - now) > SOON_MS)
    if reason or isUnkept then
      lines[i] = (reason or '') .. '\t' .. user[2] .. '\t' .. user[1] .. '\t' .. (isUnkept and 'unkept' or '')
    end
  end
end
return table.concat(lines, '\n')
