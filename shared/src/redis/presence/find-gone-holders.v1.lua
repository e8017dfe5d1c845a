#!lua flags=allow-oom
-- find-gone-holders: holders of presence in a partition whose lease has ended, the longest ended first.
--
-- A lease that ends further ahead than its length was given by a clock that was since set back, and its node may have
-- died. It gets its length from now; a live node renews it several times in that.
-- Allowed when Redis is out of memory: it moves, and does not add.
--
-- KEYS[1] presenceLeases (sorted set) · KEYS[2] presenceNodes (hash)
-- ARGV[1] limit
--
-- Result: lines. First how long until the next lease ends, ms; "" if there is none. Then the holders, at most `limit`

--@include server-time

local next = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ms(now), '+inf', 'WITHSCORES')
for i = 1, #next, 2 do
  local node, number = string.match(next[i], '^(.*)/(%d+)$')
  local current, leaseMs = string.match(redis.call('HGET', KEYS[2], node) or '', '^(%d+) %d+ %d+ (%d+)$')
  if current == number and tonumber(next[i + 1]) > now + tonumber(leaseMs) then
    redis.call('ZADD', KEYS[1], 'XX', ms(now + tonumber(leaseMs)), next[i])
  end
end
local lines = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms(now), 'LIMIT', 0, ARGV[1])
table.insert(lines, 1, next[2] and ms(tonumber(next[2]) - now) or '')
return table.concat(lines, '\n')
