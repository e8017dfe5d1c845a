-- note-wechat-refusal: records that a user refuses messages of a template on one of their devices.
--
-- KEYS[1] wechatRefusals   hash: device TAB template -> when the device was registered, ms
-- ARGV[1] device · ARGV[2] template
-- ARGV[3] registeredAtMs   as read before the send: a later registration ends the refusal
-- ARGV[4] keepMs           of the user's notes together
-- ARGV[5] cap              beyond it nothing is noted: the next send is refused again, that is all
--
-- Result: "1", or "0" if there are too many

local field = ARGV[1] .. '\t' .. ARGV[2]
local isNew = redis.call('HEXISTS', KEYS[1], field) == 0
if isNew and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return '0' end
redis.call('HSET', KEYS[1], field, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return '1'
