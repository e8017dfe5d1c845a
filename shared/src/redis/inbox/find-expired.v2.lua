#!lua flags=allow-oom
-- find-expired: which of a user's open messages have expired, and when the next one will. A call is one page of a look
-- at all of them; only numbers, epochs, ids and times leave Redis.
--
-- A look at a long inbox is expensive. So `wake` asks for no other until 500 times its cost has gone by, a minute at
-- most (`expiryLookFrom`). What expired before an earlier look that wrote all ends (`endsWrittenAt`) is returned again
-- only if `acked` may move over it.
--
-- v2: numbers that were removed from the inbox do not end the head.
--
-- KEYS[1] user · KEYS[2] inbox
-- ARGV[1] after         the page begins above this seq; "" for a look's first page, which begins above `acked`
-- ARGV[2] entriesBefore · ARGV[3] bytesBefore   what this look has read already
-- ARGV[4] head          all above `acked`, up to and including this seq, has expired; "" for the first page
-- ARGV[5] writtenAt     "" while the look goes on; at its end, when all ends are written, the time of its first page: the
--                       script notes it, and reads what has come in meanwhile
--
-- Result: "" if there is no such user, or nothing is open; else lines. First: now TAB seq TAB epoch TAB last TAB
-- nextExpiry TAB entries TAB bytes TAB head. `last` is the seq at the page's end, or `seq` if there is no more;
-- nextExpiry is the earliest on this page, "" for none; entries and bytes are what the look has read so far. Then one
-- line for each expired message, ascending: seq TAB epoch TAB id

--@include server-time
local PAGE_ENTRIES, PAGE_BYTES = 256, 131072
-- Redis' time for each entry and byte, µs; how many times that cost must go by before the next look; and the longest
-- rest.
local ENTRY_US, BYTE_US, RARER, LONGEST_MS = 4, 0.002, 500, 60000

local user = redis.call('HMGET', KEYS[1], 'seq', 'acked', 'epoch', 'endsWrittenAt')
local seq, acked = tonumber(user[1]), tonumber(user[2])
if not seq or acked >= seq then return '' end
local writtenAt = tonumber(user[4]) or 0
-- (A time in the future was written by a clock that was since set back: it says nothing.)
if writtenAt > now then writtenAt = 0 end

local after = tonumber(ARGV[1]) or acked
local entries, bytes, nextExpiry = 0, 0, nil
local over, atHead = {}, math.max(acked, tonumber(ARGV[4]) or 0)
local isAllOver = after <= atHead -- all above `acked` that was read so far
while after < seq and entries < PAGE_ENTRIES and bytes < PAGE_BYTES do
  local found = redis.call('XRANGE', KEYS[2], ms(after + 1) .. '-0', '+', 'COUNT', 8)
  if #found == 0 then after = seq end
  for _, entry in ipairs(found) do
    local value = entry[2][2]
    local expiresAt = tonumber(string.match(value, '\t%d+\t(%d+)'))
    after = tonumber(string.match(entry[1], '^%d+'))
    entries, bytes = entries + 1, bytes + #value
    if not expiresAt or expiresAt > now then isAllOver = isAllOver and after <= atHead end
    if expiresAt and expiresAt > now then
      if not nextExpiry or expiresAt < nextExpiry then nextExpiry = expiresAt end
    elseif expiresAt then
      local isAtHead = isAllOver and after > atHead
      if isAtHead then atHead = after end
      if isAtHead or expiresAt >= writtenAt then
        local epoch, id = string.match(value, '^([^\t]*)\t%d+\t%d+\t([^\t]*)')
        over[#over + 1] = ms(after) .. '\t' .. epoch .. '\t' .. id
      end
    end
  end
end

entries, bytes = entries + tonumber(ARGV[2]), bytes + tonumber(ARGV[3])
local restMs = math.min(math.floor((entries * ENTRY_US + bytes * BYTE_US) * RARER / 1000), LONGEST_MS)
-- A short pause is not worth the write: a user is not checked that often.
if restMs > 1000 then redis.call('HSET', KEYS[1], 'expiryLookFrom', ms(now + restMs)) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'endsWrittenAt', ARGV[5]) end

local head = ms(now) .. '\t' .. ms(seq) .. '\t' .. user[3] .. '\t' .. ms(after) .. '\t'
  .. (nextExpiry and ms(nextExpiry) or '') .. '\t' .. ms(entries) .. '\t' .. ms(bytes) .. '\t' .. ms(atHead)
return #over == 0 and head or head .. '\n' .. table.concat(over, '\n')
