#!lua flags=allow-oom
-- give-back-fallback: lets the next worker that looks for abandoned entries have this one at once, as if its holder had
-- never had it.
--
-- Only while the holder still has it: after a pause another worker may have taken it over, and be sending it.
--
-- KEYS[1] fallback stream
-- ARGV[1] group · ARGV[2] entryId · ARGV[3] holder
-- ARGV[4] idleMs     how long it then counts as held
-- ARGV[5] deliveries how often workers had got it before
--
-- Result: "1", or "0" if it is not the holder's (any more)

local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1, ARGV[3])
if #mine == 0 then return '0' end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[5], 'JUSTID')
return '1'
