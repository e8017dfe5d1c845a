#!lua flags=allow-oom
-- heartbeat: renews the leases of registered connections, and says which ones are not registered, or must not be.
--
-- KEYS[4i-3] routes of the i-th connection's user
-- KEYS[4i-2] tokenGeneration · KEYS[4i-1] revokedSession · KEYS[4i] revokedToken   of the connection's token
-- ARGV[1] leaseMs
-- ARGV[2] keepMs   how long the routes are to be kept without another heartbeat; "" leaves that as it is
-- then for the i-th connection ARGV[2i+1] member · ARGV[2i+2] its token's generation, "" for no token
--
-- Never adds: a connection that was evicted or pruned, or that has a revoked token, must go through `connect` again.
--
-- Result: the indices (from 1) of those connections, joined by ","; "" for none

--@include server-time
local leaseEnd, keepMs = ms(now + tonumber(ARGV[1])), ARGV[2]
local missing = {}

-- As in includes/partition/token-revoked, by one command instead of two: this runs for each connection again and again.
local function isRevoked(k, generation)
  local notes = redis.call('MGET', KEYS[k + 1], KEYS[k + 2], KEYS[k + 3])
  return notes[1] and tonumber(generation) < tonumber(notes[1]) or notes[2] or notes[3]
end

-- The lease's end hardly ever stays the same; if it does, the member must be looked for.
local function renewed(key, member)
  return redis.call('ZADD', key, 'XX', 'CH', leaseEnd, member) == 1 or redis.call('ZSCORE', key, member)
end

for i = 1, #KEYS / 4 do
  local k, member, generation = 4 * i - 3, ARGV[2 * i + 1], ARGV[2 * i + 2]
  if not (generation ~= '' and isRevoked(k, generation)) and renewed(KEYS[k], member) then
    if keepMs ~= '' then redis.call('PEXPIRE', KEYS[k], keepMs) end
  else
    missing[#missing + 1] = i
  end
end
return table.concat(missing, ',')
