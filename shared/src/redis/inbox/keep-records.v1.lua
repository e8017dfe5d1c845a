#!lua flags=allow-oom
-- keep-records: makes the records of a user's open messages outlive them.
--
-- `accept` gives a record a day: most messages are acknowledged within milliseconds, and nothing more is written for
-- them. A record that is kept here lives until its message's expiry and `recordKeepMs` more. `kept`, in the user's
-- hash, says up to which number that was done, so each message is read once.
--
-- A record that is gone while its message is open (nobody looked for a day) is made again from the inbox: else its
-- message would end in silence. Its content and attempt are unknown by then ("?"), so no message is taken for a repeat
-- of it. Two records are not made again: that of a message that ended before (`endsWrittenAt`, inbox/find-expired.lua),
-- and one that cannot be gone yet: it is on the other side of a slot that is being moved, and is looked for again.
--
-- It does the same whoever runs it, and however often: it needs no owner. A user with keys of another type is passed
-- over.
-- Allowed when Redis is out of memory: it adds almost nothing.
--
-- The records' names are made here, since only the inbox holds the ids. They are in the slot of the declared keys.
--
-- KEYS[1..] two for each user: user (hash) · inbox (stream)
-- ARGV[1] recordKeepMs
-- then two for each user: userId · minAgeMs     younger messages are left as they are: this user is looked at again
-- soon
--
-- Result: lines, one for each user: "more" if the call had read enough before it reached the end, else ""

--@include server-time
local DAY_MS = 86400000
local recordKeepMs = tonumber(ARGV[1])
local recordPrefix = string.match(KEYS[1], '^(.-):user:') .. ':record:'
local entriesLeft, bytesLeft = 512, 262144
local lines = {}

-- Returns false if the record must be looked for again.
local function keep(userId, seq, value, endsWrittenAt)
  local epoch, at, expiresAt, id = string.match(value, '^([^\t]*)\t(%d+)\t(%d+)\t([^\t]+)')
  if not id then return true end
  local recordOfEntry, untilText = recordPrefix .. id, ms(math.max(tonumber(expiresAt), now) + recordKeepMs)
  if redis.call('PEXPIREAT', recordOfEntry, untilText, 'GT') == 1 then return true end
  if tonumber(expiresAt) < endsWrittenAt or redis.call('EXISTS', recordOfEntry) == 1 then return true end
  if now - tonumber(at) < DAY_MS then return false end
  local record = seq .. '\t' .. epoch .. '\t' .. at .. '\t' .. expiresAt .. '\t' .. userId .. '\t?\t?'
  redis.call('SET', recordOfEntry, record, 'PXAT', untilText)
  return true
end

-- Returns whether it came to the end of what is open, or of what is old enough.
local function keepOpen(userKey, inboxKey, userId, minAgeMs)
  local user = redis.pcall('HMGET', userKey, 'seq', 'acked', 'kept', 'endsWrittenAt')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  if not seq or not acked then return true end
  local from = math.max(acked, tonumber(user[3]) or 0)
  local start, isLeft, count = from, false, minAgeMs > 0 and 1 or 8
  while from < seq and not isLeft and entriesLeft > 0 and bytesLeft > 0 do
    local entries = redis.pcall('XRANGE', inboxKey, ms(from + 1) .. '-0', ms(seq) .. '-0', 'COUNT', count)
    if entries.err then return true end
    if #entries == 0 then from = seq end
    for _, entry in ipairs(entries) do
      local seqText, value = string.match(entry[1], '^%d+'), entry[2][2]
      local at = tonumber(string.match(value, '^[^\t]*\t(%d+)'))
      isLeft = minAgeMs > 0 and at and now - at < minAgeMs or not keep(userId, seqText, value, tonumber(user[4]) or 0)
      if isLeft then break end
      from = tonumber(seqText)
      entriesLeft = entriesLeft - 1
      bytesLeft = bytesLeft - #value
    end
    count = 8
  end
  if from > start then redis.call('HSET', userKey, 'kept', ms(from)) end
  return isLeft or from >= seq
end

for i = 1, #KEYS / 2 do
  local userId, minAgeMs = ARGV[2 * i], tonumber(ARGV[1 + 2 * i])
  lines[i] = keepOpen(KEYS[2 * i - 1], KEYS[2 * i], userId, minAgeMs) and '' or 'more'
end
return table.concat(lines, '\n')
