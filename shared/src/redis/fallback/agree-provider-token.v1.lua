#!lua flags=allow-oom
-- agree-provider-token: puts a new token in the place of an old one, if that is old enough.
--
-- Allowed where Redis is out of memory: there is one a key, and without it no push goes out, which frees memory.
--
-- KEYS[1] token          string: when it was made, ms TAB the token
-- ARGV[1] mintedAtMs     of the token that is proposed
-- ARGV[2] token
-- ARGV[3] minIntervalMs  by how much it must be younger than the one that is there
-- ARGV[4] keepMs
--
-- No clock is read: the two times are compared with each other, so that several who find the same old token at once
-- agree on one new one, whatever they propose afterwards.
--
-- Result: mintedAtMs TAB token, of the one that counts from now on

local there = redis.call('GET', KEYS[1])
if there then
  local mintedAt = tonumber(string.match(there, '^(%d+)\t'))
  if mintedAt and tonumber(ARGV[1]) - mintedAt < tonumber(ARGV[3]) then return there end
end
local value = ARGV[1] .. '\t' .. ARGV[2]
redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
return value
