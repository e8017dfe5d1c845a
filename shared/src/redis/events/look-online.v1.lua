#!lua flags=allow-oom
-- look-online: checks users who are due in `online`: those who have a connection, or are on their way back, are
-- checked again when the last of their leases ends; the others go offline and leave it, with the event.
--
-- One step decides, as `offer` does: a user who has connected meanwhile has a lease. Absence proves nothing for a while
-- after a change of generation, or if the caller's own link has just come back.
-- Allowed when Redis is out of memory: it removes something, and events are bounded.
--
-- KEYS[1] owner · KEYS[2] generation · KEYS[3] online (sorted set: user -> next look) · KEYS[4] events · KEYS[5] event log
-- then two for each user: routes (sorted set) · user (hash)
-- ARGV[1] token
-- ARGV[2] absenceInMs · ARGV[3] settleMs   as in wake/offer.lua
-- ARGV[4] events  see includes/event-log
-- then the i-th user's id
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or how many are offline now

--@include server-time
--@include refuse-stale
--@include current-generation
--@include event-log
local LONGEST_MS = 600000
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local generation, since = currentGeneration(KEYS[2])
local absenceIn = math.max(tonumber(ARGV[2]), math.min(since + tonumber(ARGV[3]) - now, tonumber(ARGV[3])), 0)
local events = ARGV[4] ~= '' and openEvents(ARGV[4], KEYS[4], KEYS[5], generation) or nil
local offline = 0
for i = 1, (#KEYS - 5) / 2 do
  local routesKey, userKey, userId = KEYS[4 + 2 * i], KEYS[5 + 2 * i], ARGV[4 + i]
  local due = tonumber(redis.call('ZSCORE', KEYS[3], userId))
  if due and due <= now then
    -- A user whose keys are of another type is checked again later, and does not block others.
    local last = redis.pcall('ZREVRANGE', routesKey, 0, 0, 'WITHSCORES')
    local ends = last.err and now + LONGEST_MS or tonumber(last[2]) or 0
    if ends >= now then
      -- (A lease far ahead was written by a clock that was since set back.)
      redis.call('ZADD', KEYS[3], 'XX', ms(math.min(ends, now + LONGEST_MS) + 1), userId)
    elseif absenceIn > 0 then
      redis.call('ZADD', KEYS[3], 'XX', ms(now + absenceIn), userId)
    else
      redis.call('ZREM', KEYS[3], userId)
      offline = offline + 1
      if events and events.isWanted('o') then
        local epoch = redis.pcall('HGET', userKey, 'epoch')
        events.write('o', userId, '', type(epoch) == 'string' and epoch or '', { events.nextVersion() }, '')
      end
    end
  end
end
return ms(offline)
