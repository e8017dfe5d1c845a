#!lua
-- schedule: keeps messages until their time, in their recipients' partition. They have no number before.
--
-- When memory is full the whole call is refused. (That is what the first line does.)
-- Refused, too, if no owner of the partition ever said that it promotes schedules: they would wait forever.
--
-- KEYS[1] owner      hash; its `features` stay when an older release takes the partition
-- KEYS[2] scheduled  sorted set, see includes/scheduled-record
-- then three for each message: record · schedules of its recipient (sorted set) · user (hash; read only)
-- ARGV[1] cap  messages that may wait for a recipient
-- then six for each message:
--   id · recordTail (recipient TAB fingerprint TAB attempt) · deliverAt (ms) · ttlMs [SPACE acceptedAt, if it was
--   accepted before] · shift (µs, its priority's, see protocol/messages/scheduled-message) · payload
--   payload of a user's message: policy TAB notification TAB data [TAB trace]; of a topic's: historySize SPACE
--   historyMs SPACE historyBytes TAB from TAB data [TAB trace]
--
-- Since v3 a message that Redis had lost keeps its time of acceptance.
--
-- Result: "off" if the partition's owners cannot do it; else a line for each message:
--   "+"         it waits
--   "=" record  its record exists, and nothing was changed; of a message without a number, without its payload
--   "d"         it is already due: nothing was stored
--   "!"         as many as may wait for its recipient: nothing was stored

--@include server-time
--@include end-keep
--@include of-history
--@include scheduled-record

local owner = redis.call('HMGET', KEYS[1], 'token', 'features')
-- Without any owner ever, this is a cluster that has just been made.
if owner[1] and not string.find(' ' .. (owner[2] or '') .. ' ', ' schedules ', 1, true) then return 'off' end
-- A key of another kind fails here, before anything is written.
redis.call('ZCARD', KEYS[2])

local nowText, micros, cap = ms(now), time[1] * 1000000 + time[2], tonumber(ARGV[1])
local lines = {}

for i = 1, (#KEYS - 2) / 3 do
  local k, a = 2 + (i - 1) * 3, 1 + (i - 1) * 6
  local recordKey, ofKey, userKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local id, recordTail, deliverAt, payload = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 6]
  local recipient = string.match(recordTail, '^[^\t]*')
  local record = redis.call('GET', recordKey)
  -- As in accept: a record of a history that its user no longer has is not a duplicate.
  local isOfNamesake = record and not hasNoNumber(record) and string.sub(recipient, 1, 1) ~= '#'
    and not isOfHistory(string.match(record, '^%d+\t([^\t]*)'), redis.call('HGET', userKey, 'epoch'))
  if record and not isOfNamesake then
    lines[#lines + 1] = '=' .. withoutPayload(record)
  elseif deliverAt <= now then
    lines[#lines + 1] = 'd'
  elseif redis.call('ZCARD', ofKey) >= cap then
    lines[#lines + 1] = '!'
  else
    if isOfNamesake then
      local attemptsOfNamesake = string.gsub(recordKey, ':record:', ':attempts:', 1)
      local sendsOfNamesake = string.gsub(recordKey, ':record:', ':device-sends:', 1)
      redis.call('UNLINK', attemptsOfNamesake, sendsOfNamesake)
    end
    local order = string.format('%013x%02x', micros + tonumber(ARGV[a + 5]), i)
    local deliverAtText = ms(deliverAt)
    redis.call('ZADD', ofKey, deliverAtText, order .. id)
    redis.call('ZADD', KEYS[2], deliverAtText, order .. id .. '\t' .. recipient)
    local ttl, acceptedAt = string.match(ARGV[a + 4], '^(%d+) ?(%d*)$')
    if acceptedAt == '' then acceptedAt = nowText end
    redis.call('SET', recordKey, '0\t@\t' .. acceptedAt .. '\t' .. ms(deliverAt + ttl) .. '\t'
      .. recordTail .. '\tscheduled ' .. deliverAtText .. ' ' .. order .. '\t' .. payload)
    lines[#lines + 1] = '+'
  end
end
return table.concat(lines, '\n')
