#!lua flags=allow-oom
-- cancel-schedule: a message that waits for its time is taken back, with its end.
--
-- One step: where it was promoted first, nothing is changed. What `scheduled` does not hold is not taken back.
-- Allowed where Redis is out of memory: it frees memory.
--
-- KEYS[1] record · KEYS[2] scheduled · KEYS[3] schedules of its recipient
-- ARGV[1] id
--
-- Result: "cancelled"; "gone" where it does not wait (any more)

--@include server-time
--@include end-keep
--@include scheduled-record
local waiting = readScheduled(redis.call('GET', KEYS[1]) or '')
if not waiting then return 'gone' end
local member = waiting.order .. ARGV[1] .. '\t' .. waiting.recipient
if not takeScheduled(KEYS[2], KEYS[3], member) then return 'gone' end
endScheduled(KEYS[1], waiting.head, 'cancelled ' .. ms(now))
return 'cancelled'
