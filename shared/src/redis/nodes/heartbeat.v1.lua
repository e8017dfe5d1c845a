#!lua flags=allow-oom
-- heartbeat: renews the leases of registered connections, and says which ones are not registered, or must not be.
--
-- KEYS[4i-3] routes of the i-th connection's user
-- KEYS[4i-2] tokenGeneration · KEYS[4i-1] revokedSession · KEYS[4i] revokedToken   of the connection's token
-- ARGV[1] leaseMs, then for the i-th connection ARGV[2i] member · ARGV[2i+1] its token's generation, "" for no token
--
-- Never adds: a connection that was evicted or pruned, or that has a revoked token, must go through `connect` again.
--
-- Result: the indices (from 1) of those connections, joined by ","; "" for none

--@include token-revoked
--@include server-time
local leaseMs = tonumber(ARGV[1])
local leaseEnd, setTtl = ms(now + leaseMs), ms(2 * leaseMs)
local missing = {}
for i = 1, #KEYS / 4 do
  local k, member, generation = 4 * i - 3, ARGV[2 * i], ARGV[2 * i + 1]
  local revoked = generation ~= '' and tokenRevoked(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], generation)
  if not revoked and redis.call('ZSCORE', KEYS[k], member) then
    redis.call('ZADD', KEYS[k], 'XX', leaseEnd, member)
    redis.call('PEXPIRE', KEYS[k], setTtl)
  else
    missing[#missing + 1] = i
  end
end
return table.concat(missing, ',')
