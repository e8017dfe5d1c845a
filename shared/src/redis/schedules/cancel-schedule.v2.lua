#!lua flags=allow-oom
-- cancel-schedule: cancels a scheduled message, with its end.
--
-- One step: if it was promoted first, nothing is changed. What `scheduled` does not hold is not cancelled.
-- Allowed when Redis is out of memory: it frees memory.
--
-- v2: the end is an event, in the same step, if `message.cancelled` is written.
--
-- KEYS[1] record · KEYS[2] scheduled · KEYS[3] schedules of its recipient
-- KEYS[4] events · KEYS[5] event log · KEYS[6] generation
-- ARGV[1] id
-- ARGV[2] events  see includes/event-log
--
-- Result: "cancelled"; "gone" if it does not wait (any more)

--@include server-time
--@include end-keep
--@include scheduled-record
--@include current-generation
--@include trace-of
--@include event-log
local waiting = readScheduled(redis.call('GET', KEYS[1]) or '')
if not waiting then return 'gone' end
local member = waiting.order .. ARGV[1] .. '\t' .. waiting.recipient
local events = ARGV[2] ~= '' and openEvents(ARGV[2], KEYS[4], KEYS[5], currentGeneration(KEYS[6])) or nil
if not takeScheduled(KEYS[2], KEYS[3], member) then return 'gone' end
endScheduled(KEYS[1], waiting.head, 'cancelled ' .. ms(now))
if events then
  events.write('c', waiting.recipient, '0', '@', { ARGV[1], waiting.acceptedAt }, traceOf(waiting.payload))
end
return 'cancelled'
