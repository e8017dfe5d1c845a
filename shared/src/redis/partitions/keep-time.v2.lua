#!lua flags=allow-oom
-- keep-time: records how far a partition's clock has come, and returns whether it was set back since.
--
-- All times that scripts write are the master's. If its clock is set back, or the next master's is behind, what was
-- written before is further ahead than it was meant to be: see partitions/set-back.lua. The note (includes/note-clock)
-- shows this to whoever owns the partition then.
-- Allowed when Redis is out of memory: it sets a field of an existing hash.
--
-- KEYS[1] owner · KEYS[2] generation
-- ARGV[1] token
-- ARGV[2] isSetBack  "1": what was written before is right again; else ""
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or now (ms) TAB how far the clock was set back (ms), 0 for not at all

--@include server-time
--@include refuse-stale
--@include current-generation
--@include note-clock
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

return ms(now) .. '\t' .. ms(noteClock(KEYS[2], ARGV[2] == '1'))
