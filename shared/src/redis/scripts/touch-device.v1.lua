-- touch-device: a device was reached: it is seen as of now, if that was not written down lately.
--
-- KEYS[1] devices
-- ARGV[1] deviceId
-- ARGV[2] atMs
-- ARGV[3] stepMs  what was seen less than this before stays as it is
--
-- Result: "1" where it was written; "0" where it was seen lately, or is not there

local entry = redis.call('HGET', KEYS[1], ARGV[1])
local registeredAt, lastSeen, rest = string.match(entry or '', '^(%d+)\t(%d+)\t(.*)$')
if not lastSeen or tonumber(ARGV[2]) - tonumber(lastSeen) < tonumber(ARGV[3]) then return '0' end
redis.call('HSET', KEYS[1], ARGV[1], registeredAt .. '\t' .. ARGV[2] .. '\t' .. rest)
return '1'
