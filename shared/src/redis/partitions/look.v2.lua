#!lua flags=allow-oom
-- look: what an owner asks of a quiet partition each second, in one call: has the clock been set back, and has anything
-- come due?
--
-- Of the clock it notes and tells what partitions/keep-time.lua does, which goes on where it was set back. It checks the
-- generation as well, in every partition, however quiet. What has come due is looked at by whoever works on it.
-- Allowed when Redis is out of memory: it sets a field of an existing hash.
--
-- KEYS[1] owner · KEYS[2] generation · KEYS[3] due · KEYS[4] scheduled · KEYS[5] presenceLeases
-- ARGV[1] token
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or now (ms) TAB how far the clock was set back (ms), 0 for not at all TAB the first user's time TAB
-- the first schedule's time (ms each, "" for none) TAB how many holders of presence there are

--@include server-time
--@include refuse-stale
--@include current-generation
--@include note-clock
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

local back = noteClock(KEYS[2])
local function first(key) return redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or '' end
return ms(now) .. '\t' .. ms(back) .. '\t' .. first(KEYS[3]) .. '\t' .. first(KEYS[4]) .. '\t'
  .. redis.call('ZCARD', KEYS[5])
