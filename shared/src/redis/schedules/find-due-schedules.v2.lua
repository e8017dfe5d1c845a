#!lua flags=allow-oom
-- find-due-schedules: the earliest of what is due, in order of time, and when to look again. It changes nothing.
--
-- KEYS[1] scheduled  sorted set, see includes/scheduled-record
-- ARGV[1] limit      of messages
--
-- Result: a list: now (ms) · the first time that is still to come, "" for none · then member · time of each

--@include server-time
local answer = { ms(now), '' }
for _, text in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms(now), 'WITHSCORES', 'LIMIT', 0, ARGV[1])) do
  answer[#answer + 1] = text
end
local next = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ms(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
if next then answer[2] = ms(tonumber(next)) end
return answer
