#!lua flags=allow-oom
-- keep-time: records how far a partition's clock has come, and returns whether it was set back since.
--
-- All times that scripts write are the master's. If its clock is set back, or the next master's is behind, what was
-- written before is further ahead than it was meant to be: see partitions/set-back.lua. The note shows this to whoever
-- owns the partition then. A step of up to a second is waited out.
-- It also checks the generation, in every partition, however quiet, and notes the process if it is not noted.
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
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

currentGeneration(KEYS[2])
local replid, run, noted = unpack(redis.call('HMGET', KEYS[2], 'replid', 'run', 'at'))
-- A release that knows `replid` alone wrote it: the next change of it must be judged by the process too.
if string.match(run or '', '^%x*') ~= replid then noteRun(KEYS[2], replid, redis.call('INFO', 'server')) end
local at = tonumber(noted)
local back = at and at - now or 0
if back > 1000 and ARGV[2] ~= '1' then return ms(now) .. '\t' .. ms(back) end
if not at or back <= -1000 or ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'at', ms(now)) end
return ms(now) .. '\t0'
