#!lua flags=allow-oom
-- revoke-session: ends a user's session: its refresh token, its access tokens, and its sockets on every node.
--
-- KEYS[1] sessions · KEYS[2] revokedSession
-- ARGV[1] userId · ARGV[2] sessionId
-- ARGV[3] keepMs   longer than any access token of the session may live
-- ARGV[4] channel  of all nodes, for this partition
--
-- May run again without harm; the first reason stays.
--
-- Result: "ok"

redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], 'revoked', 'PX', ARGV[3], 'NX')
redis.call('SPUBLISH', ARGV[4], 'revoke-session\n' .. ARGV[1] .. '\t' .. ARGV[2])
return 'ok'
