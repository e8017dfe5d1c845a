#!lua
-- replay-schedule: a message that failed because its user's inbox was full waits again, and is due at once.
--
-- One step: its record says failed exactly while it is in the dead letters. Refused as a whole when memory is full.
--
-- KEYS[1] dead letters of that cause · KEYS[2] record · KEYS[3] scheduled · KEYS[4] schedules of its recipient
-- ARGV[1] entryId · ARGV[2] text   the entry as the caller has read it · ARGV[3] id
-- ARGV[4] shift   µs, its priority's, see protocol/messages/scheduled-message
--
-- Result: as replay-dead-letter's

--@include server-time
--@include end-keep
--@include scheduled-record
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry or entry[2][2] ~= ARGV[2] then return 'unknown' end
local record = redis.call('GET', KEYS[2])
if not record or not hasNoNumber(record) then return 'forgotten' end
local head, expiresAt, recipient, payload =
  string.match(record, '^(0\t@\t%d+\t(%d+)\t([^\t]*)\t[^\t]*\t[^\t]*)\tfailed %d+ inbox%-full\t(.*)$')
if not head then
  local state = string.match(record, '^' .. string.rep('[^\t]*\t', 7) .. '(%l+)')
  return state == 'scheduled' and 'queued' or state
end
if tonumber(expiresAt) <= now then return 'expired' end
redis.call('ZCARD', KEYS[3])

local order = string.format('%013x%02x', time[1] * 1000000 + time[2] + tonumber(ARGV[4]), 0)
redis.call('ZADD', KEYS[4], ms(now), order .. ARGV[3])
redis.call('ZADD', KEYS[3], ms(now), order .. ARGV[3] .. '\t' .. recipient)
redis.call('SET', KEYS[2], head .. '\tscheduled ' .. ms(now) .. ' ' .. order .. '\t' .. payload)
redis.call('XDEL', KEYS[1], ARGV[1])
return 'replayed'
