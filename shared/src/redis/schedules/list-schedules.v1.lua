#!lua flags=allow-oom
-- list-schedules: which of a recipient's messages wait for their time, in order of time, a page with each call. It
-- changes nothing.
--
-- KEYS[1] schedules of the recipient  sorted set, see includes/scheduled-record
-- ARGV[1] after   the last one's time, ms; "" to begin · ARGV[2] its member, which may be gone by now
-- ARGV[3] limit
--
-- Result: a list: member · time, each

local after, member, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
if after == '' then return redis.call('ZRANGE', KEYS[1], 0, limit - 1, 'WITHSCORES') end
local at = redis.call('ZSCORE', KEYS[1], member)
local from
if at and tonumber(at) == tonumber(after) then
  from = redis.call('ZRANK', KEYS[1], member) + 1
else
  -- Equal times are in the order of their members.
  local low = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. after)
  local high = redis.call('ZCOUNT', KEYS[1], '-inf', after)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', KEYS[1], middle, middle)[1] <= member then low = middle + 1 else high = middle end
  end
  from = low
end
return redis.call('ZRANGE', KEYS[1], from, from + limit - 1, 'WITHSCORES')
