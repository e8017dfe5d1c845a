#!lua flags=allow-oom
-- agree-provider-token: replaces a token by a new one, if the old one is old enough.
--
-- Allowed when Redis is out of memory: there is one for each key, and without it no push goes out, which frees memory.
--
-- KEYS[1] token          string: when it was made, ms TAB the token
-- ARGV[1] mintedAtMs     of the proposed token
-- ARGV[2] token
-- ARGV[3] minIntervalMs  how much younger than the stored one it must be
-- ARGV[4] keepMs
--
-- Reads no clock: it compares the two times with each other. So several processes that find the same old token at once
-- agree on one new token, whatever they propose afterwards.
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
