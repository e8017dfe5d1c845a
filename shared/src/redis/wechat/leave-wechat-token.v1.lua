#!lua flags=allow-oom
-- leave-wechat-token: ends the right of a fence's holder that could not fetch a token; nobody tries for a while.
--
-- Allowed when Redis is out of memory, as take-wechat-token.v1.
--
-- KEYS[1] token   hash, see take-wechat-token.v1
-- ARGV[1] fence
-- ARGV[2] restMs · ARGV[3] kind · ARGV[4] reason   for how long, and why; without tabs
--
-- Result: "left", or "stale": another has the right by now, and nothing was changed

--@include server-time
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 'stale' end
redis.call('HDEL', KEYS[1], 'lockUntil')
redis.call('HSET', KEYS[1], 'restUntil', ms(now + tonumber(ARGV[2])), 'restKind', ARGV[3], 'restReason', ARGV[4])
return 'left'
