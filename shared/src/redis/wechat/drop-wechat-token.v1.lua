#!lua flags=allow-oom
-- drop-wechat-token: WeChat refused this token: it goes, unless another has taken its place.
--
-- Allowed where Redis is out of memory, as take-wechat-token.v1.
--
-- KEYS[1] token   hash, see take-wechat-token.v1
-- ARGV[1] id       of the token that was refused
-- ARGV[2] doubtMs  for so long it is not taken back, should WeChat give it out again
--
-- Result: "1", or "0" where it is not the app's token (any more)

--@include server-time
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return '0' end
redis.call('HDEL', KEYS[1], 'token', 'id', 'expiresAt', 'refreshAt')
redis.call('HSET', KEYS[1], 'doubted', ARGV[1], 'doubtedUntil', ms(now + tonumber(ARGV[2])))
return '1'
