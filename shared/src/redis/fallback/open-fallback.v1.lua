#!lua flags=allow-oom
-- open-fallback: creates the workers' group of a fallback stream; it begins with all existing entries.
--
-- Allowed when Redis is out of memory: workers remove messages, and there is one group for each stream.
--
-- KEYS[1] fallback stream
-- ARGV[1] group
--
-- Result: "made", or "there" if another worker was faster

local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if not made.err then return 'made' end
if string.find(made.err, 'BUSYGROUP', 1, true) then return 'there' end
return made
