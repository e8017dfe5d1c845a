#!lua flags=allow-oom
-- revoke-user: revokes all tokens that a user has so far; the same step tells every node.
--
-- A connection that registers before this is told by the message; one that registers after it finds the generation. The
-- generation follows Redis' clock and always grows, so one that has expired is never issued again.
--
-- KEYS[1] tokenGeneration
-- ARGV[1] userId
-- ARGV[2] keepMs   longer than any token of the user may live
-- ARGV[3] channel  of all nodes, for this partition
--
-- Result: the user's generation from now on

--@include server-time

local generation = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) + 1, now)
redis.call('SET', KEYS[1], ms(generation), 'PX', ARGV[2])
redis.call('SPUBLISH', ARGV[3], 'revoke-user\n' .. ARGV[1] .. '\t' .. ms(generation))
return ms(generation)
