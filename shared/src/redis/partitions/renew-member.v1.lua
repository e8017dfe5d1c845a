#!lua flags=allow-oom
-- renew-member: enters or renews a dispatcher's membership, and says who else is a member.
--
-- A lease that ends further ahead than its length was given by a clock that was since set back: a dead member would
-- stay for that much longer. It gets its length from now; a live member renews itself several times a lease, whatever
-- its length.
-- Allowed when Redis is out of memory: dispatchers free memory, and there are few of them.
--
-- KEYS[1] dispatchers  sorted set, in a slot of its own: dispatcher -> lease end, server ms
-- ARGV[1] dispatcherId
-- ARGV[2] leaseMs
--
-- Result: the ids of all live members, this one included

--@include server-time
local leaseEnd = ms(now + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], leaseEnd, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms(now))
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. leaseEnd, '+inf')) do
  redis.call('ZADD', KEYS[1], leaseEnd, member)
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
