-- The messages that an acknowledgement delivers, each as an event. Needs server-time, of-history, trace-of and
-- event-log.
--
-- What is open and has not ended is in the inbox. A record is looked at for the time of acceptance, and for an end
-- that an acknowledgement no longer changes. Its name is made from a declared key and the id in the inbox: it is in the
-- same slot, and is read before anything of its user is written.
--
-- A call writes a bounded number. If there are more, the acknowledgement counts only as far as they reach, and the
-- caller repeats it.
local DELIVERED_PAGE = 8
local deliveredLeft, deliveredBytesLeft = 200, 262144

local function readRecord(recordKey) return redis.call('GET', recordKey) end

-- Returns up to which number the acknowledgement counts, and the events: { who, seq, epoch, words, trace } each.
local function findDelivered(inboxKey, userId, acked, target)
  local found, from, recordPrefix = {}, acked, string.match(inboxKey, '^[^}]*}:') .. 'record:'
  while from < target do
    if deliveredLeft <= 0 or deliveredBytesLeft <= 0 then return from, found end
    local entries = redis.call('XRANGE', inboxKey, ms(from + 1) .. '-0', ms(target) .. '-0', 'COUNT', DELIVERED_PAGE)
    for _, entry in ipairs(entries) do
      local seqText, value = string.match(entry[1], '^%d+'), entry[2][2]
      local epoch, at, id = string.match(value, '^([^\t]*)\t(%d+)\t%d+\t([^\t]*)')
      local recordSeq, recordEpoch, recordAt, ending = string.match(readRecord(recordPrefix .. id) or '',
        '^(%d+)\t([^\t]*)\t(%d+)\t%d+\t[^\t]*\t[^\t]*\t[^\t]*(.*)$')
      local isItsRecord = recordSeq == seqText and isOfHistory(recordEpoch, epoch)
      local isFinal = isItsRecord and (string.match(ending, '^\texpired ') or string.match(ending, '^\tcancelled ')
        or string.match(ending, ' over$'))
      if not isFinal then
        found[#found + 1] = { userId, seqText, epoch, { id, isItsRecord and recordAt or at }, traceOf(value) }
      end
      from = tonumber(seqText)
      deliveredLeft, deliveredBytesLeft = deliveredLeft - 1, deliveredBytesLeft - #value
    end
    if #entries < DELIVERED_PAGE then from = target end
  end
  return target, found
end

local function writeDelivered(events, found)
  for _, one in ipairs(found) do events.write('d', one[1], one[2], one[3], one[4], one[5]) end
end
