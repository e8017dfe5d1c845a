#!lua flags=allow-oom
-- revoke-token: revokes one token. Its id does not name its user, so this runs once for each partition.
--
-- KEYS[1] revokedToken
-- ARGV[1] jti
-- ARGV[2] keepMs   until the token has expired in any case; never shortens the present TTL
-- ARGV[3] channel  of all nodes, for this partition
--
-- Result: "ok"

if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) end
redis.call('SPUBLISH', ARGV[3], 'revoke-token\n' .. ARGV[1])
return 'ok'
