#!lua flags=allow-oom
-- agree-signing-keys: reads the cluster's signing keys, or replaces them if nobody else has meanwhile.
--
-- Allowed when Redis is out of memory: the set is bounded, and auth needs it to start and let in the clients that free
-- memory.
--
-- KEYS[1] signingKeys  string: revision LF JSON
-- ARGV[1] expected     the revision to replace, "0" if there is none; "" to read only
-- ARGV[2] proposed     JSON
--
-- Result: now, ms by Redis' clock TAB taken (0|1): whether the proposed ones were written TAB the revision that counts
-- from now on TAB its JSON; revision 0 and "" for none

--@include server-time

local stored = redis.call('GET', KEYS[1])
local revision, keys, taken = '0', '', '0'
if stored then revision, keys = string.match(stored, '^(%d+)\n(.*)$') end
if ARGV[1] == revision then
  revision, keys, taken = ms(tonumber(revision) + 1), ARGV[2], '1'
  redis.call('SET', KEYS[1], revision .. '\n' .. keys)
end
return table.concat({ ms(now), taken, revision, keys }, '\t')
