#!lua flags=allow-oom
-- heartbeat: renews the leases of connections that are registered, and says which are not.
--
-- KEYS[i] routes of the i-th connection's user
-- ARGV[1] leaseMs, then the i-th connection's member
--
-- Never adds: a connection that was evicted or pruned must go through `connect` again.
--
-- Result: the indices (from 1) of connections that are not registered, joined by ","; "" for none

--@include server-time
local leaseMs = tonumber(ARGV[1])
local leaseEnd, setTtl = ms(now + leaseMs), ms(2 * leaseMs)
local missing = {}
for i = 1, #KEYS do
  if redis.call('ZSCORE', KEYS[i], ARGV[i + 1]) then
    redis.call('ZADD', KEYS[i], 'XX', leaseEnd, ARGV[i + 1])
    redis.call('PEXPIRE', KEYS[i], setTtl)
  else
    missing[#missing + 1] = i
  end
end
return table.concat(missing, ',')
