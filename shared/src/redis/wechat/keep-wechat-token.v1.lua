#!lua flags=allow-oom
-- keep-wechat-token: stores what the holder of the fence has fetched as the app's token, and ends its right to fetch.
--
-- A token that WeChat refused a moment ago and issues again is not accepted: every send would be refused, drop it and
-- fetch it once more. WeChat is left alone until the doubt ends; then it is accepted.
-- Allowed when Redis is out of memory, as take-wechat-token.v1.
--
-- KEYS[1] token   hash, see take-wechat-token.v1
-- ARGV[1] fence
-- ARGV[2] token   as it is to be stored · ARGV[3] id   distinguishes it, without revealing it
-- ARGV[4] expiresInMs
-- ARGV[5] aheadMs     how long before its end it may be refreshed…
-- ARGV[6] leastMs     …but not before it was kept for this long
-- ARGV[7] reason      why it is left alone, if it is doubted
-- ARGV[8] keepMs      after which a hash that nobody uses ends
--
-- Result: "kept", "doubted", or "stale": another has the right by now, and nothing was changed

--@include server-time
local h = redis.call('HMGET', KEYS[1], 'fence', 'doubted', 'doubtedUntil')
if h[1] ~= ARGV[1] then return 'stale' end
local doubtedUntil = tonumber(h[3] or '') or 0
if h[2] == ARGV[3] and doubtedUntil > now then
  redis.call('HDEL', KEYS[1], 'lockUntil')
  redis.call('HSET', KEYS[1], 'restUntil', ms(doubtedUntil), 'restKind', 'resting', 'restReason', ARGV[7])
  return 'doubted'
end
local expiresAt = now + tonumber(ARGV[4])
local refreshAt = math.max(expiresAt - tonumber(ARGV[5]), now + tonumber(ARGV[6]))
redis.call('HDEL', KEYS[1], 'lockUntil', 'restUntil', 'restKind', 'restReason', 'doubted', 'doubtedUntil')
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'id', ARGV[3], 'expiresAt', ms(expiresAt), 'refreshAt', ms(refreshAt))
redis.call('PEXPIRE', KEYS[1], ARGV[8])
return 'kept'
