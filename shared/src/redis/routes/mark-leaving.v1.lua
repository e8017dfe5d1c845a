#!lua flags=allow-oom
-- mark-leaving: marks connections of a node that stops: their clients are about to come back elsewhere.
--
-- The member gets "/leaving" at its end. From then on it does not count against its user's limit, so a client that
-- opens its new socket before the old one closes takes no second slot.
--
-- KEYS[i] routes of the i-th connection's user
-- ARGV[i] the i-th connection's member
--
-- Result: the indices (from 1) of connections that were not registered, joined by ","; "" for none

local missing = {}
for i = 1, #KEYS do
  local leaseEnd = redis.call('ZSCORE', KEYS[i], ARGV[i])
  if leaseEnd then
    -- In this order: a set that is empty for a moment loses its time to live.
    redis.call('ZADD', KEYS[i], leaseEnd, ARGV[i] .. '/leaving')
    redis.call('ZREM', KEYS[i], ARGV[i])
  else
    missing[#missing + 1] = i
  end
end
return table.concat(missing, ',')
