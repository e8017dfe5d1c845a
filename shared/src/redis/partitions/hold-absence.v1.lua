#!lua flags=allow-oom
-- hold-absence: says that users of this partition are still on their way to it after a change of generation. The time
-- in which absence proves nothing then starts again from now.
--
-- It moves `since`, from which wake/wake.lua and wake/offer.lua of every release count. `held` is the generation, and
-- when this began for it.
-- Allowed when Redis is out of memory: it sets two fields of an existing hash.
--
-- KEYS[1] generation  hash, see includes/current-generation
-- ARGV[1] atMostMs    how long `since` may be moved in one generation, so that nobody's fallback waits forever
--
-- Result: "1", or "0" if that time is over, or there is no generation: nothing was changed then

--@include server-time
local n, held = unpack(redis.call('HMGET', KEYS[1], 'n', 'held'))
if not n then return '0' end
local heldOf, from = string.match(held or '', '^(%d+) (%d+)$')
local heldFrom = heldOf == n and tonumber(from) or now
-- (After the clock was set back, it begins anew.)
if heldFrom > now then heldFrom = now end
if now - heldFrom > tonumber(ARGV[1]) then return '0' end
redis.call('HSET', KEYS[1], 'since', ms(now), 'held', n .. ' ' .. ms(heldFrom))
return '1'
