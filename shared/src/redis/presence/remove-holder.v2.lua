#!lua flags=allow-oom
-- remove-holder: removes what a gone node had reported, a bounded number of users a call.
--
-- A topic's listeners are told in the same step. The first call makes the holder unknown: a node that was only
-- paused becomes a new one and writes all it holds. After a change of generation nothing is removed for a while: the
-- new master may have older leases than its predecessor, and the nodes are about to renew them.
-- Allowed when Redis is out of memory: it frees some.
--
-- v2: the last user who leaves a topic is an event in the same step, if `topic.vacated` is written. The keys for that
-- come last.
--
-- KEYS[1] owner · KEYS[2] generation · KEYS[3] presenceLeases · KEYS[4] presenceNodes · KEYS[5] presenceTopics of the
-- holder
-- then three for each topic: presenceUsers · presenceCounts · presenceOf the holder
-- if such events are written, then: events · event log
-- ARGV[1] token
-- ARGV[2] node · ARGV[3] number   the holder
-- ARGV[4] settleMs  how long after a change of generation nothing is removed
-- ARGV[5] limit     users in a call
-- ARGV[6] channel   prefix of a topic's channel name
-- then the topics' names, some of those in KEYS[5]
-- if such events are written, then: events  see includes/event-log
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale" · "alive" (its lease was renewed) · "wait" (nothing is removed yet): nothing was changed then;
--   "more" TAB users removed · "done" TAB users removed: nothing of it is left

--@include server-time
--@include refuse-stale
--@include current-generation
--@include presence-counts
--@include event-log
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local holder = ARGV[2] .. '/' .. ARGV[3]
if tonumber(redis.call('ZSCORE', KEYS[3], holder) or 0) > now then return 'alive' end
local generation, since = currentGeneration(KEYS[2])
if since > 0 and now - since < tonumber(ARGV[4]) then return 'wait' end

local known = redis.call('HGET', KEYS[4], ARGV[2])
if known and string.match(known, '^%d+') == ARGV[3] then redis.call('HDEL', KEYS[4], ARGV[2]) end

local events = #KEYS % 3 == 1 and openEvents(ARGV[#ARGV], KEYS[#KEYS - 1], KEYS[#KEYS], generation) or nil
local removed = 0
for i = 1, math.floor((#KEYS - 5) / 3) do
  local k, topic, isChanged = 2 + 3 * i, ARGV[6 + i], false
  local left = tonumber(ARGV[5]) - removed
  if left > 0 then
    for _, user in ipairs(redis.call('HRANDFIELD', KEYS[k + 3], left)) do
      removed = removed + 1
      local wasOccupied = events and redis.call('EXISTS', KEYS[k + 1]) == 1
      if setPresence(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], false, user, false) then isChanged = true end
      if events then tellOccupied(events, topic, wasOccupied, redis.call('EXISTS', KEYS[k + 1]) == 1) end
    end
    if redis.call('EXISTS', KEYS[k + 3]) == 0 then redis.call('SREM', KEYS[5], topic) end
  end
  if isChanged then redis.call('SPUBLISH', ARGV[6] .. topic, 'presence') end
end
if redis.call('EXISTS', KEYS[5]) == 1 then return 'more\t' .. ms(removed) end
redis.call('ZREM', KEYS[3], holder)
return 'done\t' .. ms(removed)
