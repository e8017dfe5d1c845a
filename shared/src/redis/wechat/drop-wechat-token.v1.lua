#!lua flags=allow-oom
-- drop-wechat-token: removes a token that WeChat refused, unless another has replaced it.
--
-- Allowed when Redis is out of memory, as take-wechat-token.v1.
--
-- KEYS[1] token   hash, see take-wechat-token.v1
-- ARGV[1] id       of the token that was refused
-- ARGV[2] doubtMs  how long it is not accepted if WeChat issues it again
--
-- Result: "1", or "0" if it is not the app's token (any more)

--@include server-time
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return '0' end
redis.call('HDEL', KEYS[1], 'token', 'id', 'expiresAt', 'refreshAt')
redis.call('HSET', KEYS[1], 'doubted', ARGV[1], 'doubtedUntil', ms(now + tonumber(ARGV[2])))
return '1'
