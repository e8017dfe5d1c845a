#!lua flags=allow-oom
-- open-fallback: makes the workers' group of a fallback stream, which begins with all that is there.
--
-- Allowed where Redis is out of memory: workers take messages out, and there is one group for each stream.
--
-- KEYS[1] fallback stream
-- ARGV[1] group
--
-- Result: "made", or "there" where another worker was quicker

local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if not made.err then return 'made' end
if string.find(made.err, 'BUSYGROUP', 1, true) then return 'there' end
return made
