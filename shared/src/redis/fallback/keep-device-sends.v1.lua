#!lua flags=allow-oom
-- keep-device-sends: notes which of a user's devices have a message already, while others are still to be tried.
--
-- Only while the message's record is there. So a send that was under way while its user was erased leaves nothing
-- behind, and nothing for another message that has its id by now.
-- Allowed when Redis is out of memory: it is small and expires; without it a phone gets the same message again.
--
-- KEYS[1] device sends · KEYS[2] record
-- ARGV[1] seq · ARGV[2] epoch   of the message
-- ARGV[3] keepUntilMs           its expiry
-- then device ids
--
-- Result: "1", or "0" if there is no such record

--@include of-history
local seq, epoch = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+)\t([^\t]*)')
if seq ~= ARGV[1] or not isOfHistory(epoch, ARGV[2]) then return '0' end
redis.call('SADD', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return '1'
