-- trim-ready: removes from `ready` what its owner has handed over.
--
-- KEYS[1] owner · KEYS[2] ready
-- ARGV[1] token · ARGV[2] lastId   everything up to and including this id was handed over
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: the number removed, or "stale"

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local head, tail = string.match(ARGV[2], '^(%d+)-(%d+)$')
return tostring(redis.call('XTRIM', KEYS[2], 'MINID', head .. '-' .. ms(tail + 1)))
