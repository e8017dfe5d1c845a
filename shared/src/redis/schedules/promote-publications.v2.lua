#!lua
-- promote-publications: publishes topics' messages that are due, in the order of the call.
--
-- One step takes a message out of `scheduled` and publishes it, by the text that publish-topic runs. As in
-- promote-messages: never before its time by Redis' clock; one whose TTL is over ends `expired`; a schedule
-- whose record is gone is removed. When memory is full the whole call is refused.
--
-- v2: each end is an event, in the same step, if `message.expired` is written.
--
-- KEYS[1] owner · KEYS[2] scheduled · KEYS[3] generation · KEYS[4] events · KEYS[5] event log
-- then four for each message: topic (hash) · log (stream) · record (string) · schedules of its topic
-- ARGV[1] token
-- ARGV[2..5] as publish-topic's ARGV[1..4]
-- ARGV[6] events  see includes/event-log
-- then members of `scheduled`
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or lines as those of promote-messages, behind a first one of "0": "+" latenessMs · "x" · "-" · "."

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

--@include current-generation
--@include missing-user
--@include trace-of
--@include topic-log
--@include end-keep
--@include scheduled-record
--@include due-schedules
--@include event-log

local scheduled, callKeys = KEYS[2], KEYS
local members, records, schedulesOf = { unpack(ARGV, 7) }, {}, {}
for i = 1, #members do records[i], schedulesOf[i] = KEYS[5 + 4 * i - 1], KEYS[5 + 4 * i] end
local events = ARGV[6] ~= '' and openEvents(ARGV[6], KEYS[4], KEYS[5], currentGeneration(KEYS[3])) or nil
local found = readDue(scheduled, records, members)

-- What publish-topic gets.
local publishKeys, publishArgs, promoted = { KEYS[3] }, { unpack(ARGV, 2, 5) }, {}
local function isOfKind(key, kind)
  local there = redis.call('TYPE', key).ok
  return there == kind or there == 'none'
end
for i = 1, #members do
  local one = found[i]
  if one and one.ttl > 0 then
    local k = 5 + 4 * (i - 1)
    -- Before anything is written: the record is overwritten before the log is written to.
    if not isOfKind(KEYS[k + 1], 'hash') or not isOfKind(KEYS[k + 2], 'stream') then
      return redis.error_reply('WRONGTYPE a key of the topic of ' .. one.id)
    end
    for f = 1, 3 do publishKeys[#publishKeys + 1] = KEYS[k + f] end
    local size, age, bytes, rest = string.match(one.payload, '^(%d+) (%d+) (%d+)\t(.*)$')
    local tail = string.match(one.head, '^0\t@\t%d+\t%d+\t(.*)$')
    for _, text in ipairs({ string.sub(one.recipient, 2), ms(one.ttl), size, age, bytes, tail, one.id .. '\t' .. rest }) do
      publishArgs[#publishArgs + 1] = text
    end
    promoted[#promoted + 1] = one
  end
end

local KEYS, ARGV = publishKeys, publishArgs
--@include publish-messages

local outcomes = { '0' }
for i, member in ipairs(members) do
  local one = found[i]
  if one == nil then
    outcomes[i + 1] = '.'
  elseif not one then
    outcomes[i + 1] = '-'
    takeScheduled(scheduled, schedulesOf[i], member)
  else
    outcomes[i + 1] = (one.ttl > 0 and '+' .. ms(now - one.deliverAt) or 'x') .. tailOf(one)
    takeScheduled(scheduled, schedulesOf[i], member)
    if one.ttl <= 0 then
      endScheduled(records[i], one.head, 'expired ' .. ms(now))
      if events then events.write('x', one.recipient, '0', '@', { one.id, one.acceptedAt }, traceOf(one.payload)) end
    end
  end
end
return table.concat(outcomes, '\n')
