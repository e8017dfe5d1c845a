#!lua flags=allow-oom
-- begin-send: records that a fallback channel is about to be asked to take a message, unless the message has ended.
--
-- From here on the message can be neither recalled nor collapsed, until the attempt is settled
-- (fallback/settle-fallback.lua), or the note ends by itself because its sender has died.
-- Allowed when Redis is out of memory: it is small and has an end; without it nothing is sent, and sending frees
-- memory.
--
-- KEYS[1] record · KEYS[2] user · KEYS[3] sending   string: the attempt's name
-- ARGV[1] seq · ARGV[2] epoch   of the message
-- ARGV[3] attempt    names this attempt, and no other
-- ARGV[4] keepMs     how long the note lasts, at most
-- ARGV[5] both       "1" if an acknowledgement does not replace the push (`fallback: always`), else ""
--
-- Result: "1", or "0" if the message has ended, or its time is over, and nothing was noted

--@include server-time
--@include of-history
local record = redis.call('GET', KEYS[1])
if not record then return '0' end
local seq, epoch, expiresAt, ending = string.match(record, '^(%d+)\t([^\t]*)\t%d+\t(%d+)\t[^\t]*\t[^\t]*\t[^\t]*(.*)$')
if seq ~= ARGV[1] or not isOfHistory(epoch, ARGV[2]) then return '0' end
if ending ~= '' or tonumber(expiresAt) <= now then return '0' end
local user = redis.call('HMGET', KEYS[2], 'epoch', 'acked')
if not isOfHistory(user[1], epoch) then return '0' end
if ARGV[5] ~= '1' and tonumber(seq) <= (tonumber(user[2]) or 0) then return '0' end
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
return '1'
