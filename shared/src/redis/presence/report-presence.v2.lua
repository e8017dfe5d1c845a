#!lua
-- report-presence: what a node holds in topics of one partition, as far as it changed: state, not steps.
--
-- So a call may run twice. One that comes late, after a newer one, is recognised by its version and changes nothing.
-- Who listens to a topic is told that something changed that others see: one text for each topic.
--
-- A node that does not know whether all it wrote is still there becomes a new holder, see presence/renew-holder.lua,
-- and writes all it holds. Until then it is registered as its former holder: what it says of a user replaces what that
-- one said, and nobody goes missing meanwhile.
--
-- When memory is full the call is refused, and the node tries again.
--
-- v2: the first user who comes into a topic, and the last who leaves it, are events in the same step, if
-- `topic.occupied` or `topic.vacated` is written. The keys for that come last.
--
-- KEYS[1] generation · KEYS[2] presenceNodes (hash) · KEYS[3] presenceTopics of the holder (set)
-- then four for each topic: presenceUsers · presenceCounts · presenceOf the holder · presenceOf its former holder
-- if such events are written, then: events · event log
-- ARGV[1] node · ARGV[2] number       which of the node's holders
-- ARGV[3] version   larger with each call
-- ARGV[4] former    "1" if the node is still registered as its former holder, too; else ""
-- ARGV[5] channel   prefix of a topic's channel name
-- ARGV[6] written   the highest version of this holder's that was answered "ok"; 0 for none. A lower one is stored
--                   after a beginning that came late, see presence/renew-holder.lua
-- then for each topic: name · how many users · for each of these: userId · connections ("-": none any more)
-- if such events are written, then: events  see includes/event-log
--
-- Result: "ok" · "old" (not a newer version) · "unknown" (the node must become a new holder); nothing was changed then

--@include server-time
--@include current-generation
--@include presence-counts
--@include event-log

local present = currentGeneration(KEYS[1])
local number, version, generation, leaseMs =
  string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^(%d+) (%d+) (%d+) (%d+)$')
if number ~= ARGV[2] or generation ~= present then return 'unknown' end
if tonumber(version) < tonumber(ARGV[6]) then return 'unknown' end
if tonumber(ARGV[3]) <= tonumber(version) then return 'old' end
local hasEvents = #KEYS % 4 == 1
local events = hasEvents and openEvents(ARGV[#ARGV], KEYS[#KEYS - 1], KEYS[#KEYS], present) or nil
redis.call('HSET', KEYS[2], ARGV[1], number .. ' ' .. ARGV[3] .. ' ' .. generation .. ' ' .. leaseMs)

local at = 7
for k = 4, hasEvents and #KEYS - 2 or #KEYS, 4 do
  local topic, isChanged = ARGV[at], false
  local wasOccupied = events and redis.call('EXISTS', KEYS[k]) == 1
  local last = at + 1 + 2 * tonumber(ARGV[at + 1])
  for i = at + 2, last, 2 do
    local said = ARGV[i + 1] ~= '-' and ARGV[i + 1]
    if setPresence(KEYS[k], KEYS[k + 1], KEYS[k + 2], ARGV[4] == '1' and KEYS[k + 3], ARGV[i], said) then
      isChanged = true
    end
  end
  if redis.call('EXISTS', KEYS[k + 2]) == 1 then redis.call('SADD', KEYS[3], topic)
  else redis.call('SREM', KEYS[3], topic) end
  if isChanged then redis.call('SPUBLISH', ARGV[5] .. topic, 'presence') end
  if events and isChanged then tellOccupied(events, topic, wasOccupied, redis.call('EXISTS', KEYS[k]) == 1) end
  at = last + 1
end
return 'ok'
