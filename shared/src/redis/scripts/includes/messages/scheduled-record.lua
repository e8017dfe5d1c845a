-- The record of a message that has no number yet: it waits for its time, or ended without one. Number and epoch are
-- "0" and "@", which no message with a number has. If it waits, or may be tried again, the message itself is
-- behind its end. Needs server-time and end-keep.
--
-- 0 TAB @ TAB acceptedAt TAB expiresAt TAB recipient TAB fingerprint TAB attempt TAB state SPACE … [TAB payload]
--   "scheduled" SPACE deliverAt SPACE order   waits; payload as schedules/schedule.lua takes it
--   "failed" SPACE ms SPACE "inbox-full"      its payload stays, for a replay
--   "expired" SPACE ms · "cancelled" SPACE ms
--
-- `order` puts what is due at the same time by priority, then by when it was accepted: 13 digits with the µs of that,
-- shifted by the priority's 35 years, so that one text sorts by both, whichever release wrote it; then 2 with the place
-- in its call. A record that waits has no time to live: however late its time is noticed, it is there.
--
-- It is in two sorted sets, each with its time: the partition's, as order id TAB recipient, and its recipient's, as
-- order id. The second one holds the time asked for; the first one is later if its user's limit put it off.
local function readScheduled(record)
  local head, acceptedAt, expiresAt, recipient, deliverAt, order, payload = string.match(record,
    '^(0\t@\t(%d+)\t(%d+)\t([^\t]*)\t[^\t]*\t[^\t]*)\tscheduled (%d+) (%x+)\t(.*)$')
  if not head then return nil end
  return { head = head, acceptedAt = acceptedAt, expiresAt = tonumber(expiresAt), recipient = recipient,
    deliverAt = tonumber(deliverAt), order = order, payload = payload }
end

-- Whether a record is of a message without a number.
local function hasNoNumber(record) return string.sub(record, 1, 4) == '0\t@\t' end

-- A record without its payload, as callers get it.
local function withoutPayload(record)
  return string.match(record, '^(0\t@\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*)') or record
end

-- Returns whether the partition's set held it: whoever removes it decides what becomes of it.
local function takeScheduled(scheduledKey, ofKey, member)
  redis.call('ZREM', ofKey, string.match(member, '^[^\t]*'))
  return redis.call('ZREM', scheduledKey, member) == 1
end

-- An end can be asked for as long as any other, or for longer.
local function endScheduled(recordKey, head, ending, longerMs)
  redis.call('SET', recordKey, head .. '\t' .. ending, 'PX', ms(END_KEEP_MS + (longerMs or 0)))
end
