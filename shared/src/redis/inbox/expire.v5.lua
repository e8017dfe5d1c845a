#!lua flags=allow-oom
-- expire: writes the ends of expired messages, moves `acked` over what has ended, and removes that from the inbox: it
-- serves nobody any more, and a user who never acknowledges would keep it all.
--
-- A node, a dispatcher or a reader of the state runs it when it finds such a message first, before skipping it.
-- If the user's history has changed since (erased, and there again), `acked` does not move: the numbers belong to
-- another history.
--
-- v2: takes the epoch that the numbers belong to; removes from the inbox what `acked` moves over, and records that it
-- ended (`ended`, includes/kept-after).
-- v3: an end is kept for a day and more, however short its record's time to live was. If an open message's record is
-- gone (nobody looked for a day, see inbox/keep-records.lua), it is made again, with its end.
--
-- v4: moves `acked` over numbers that were removed from the inbox, too (includes/taken-out).
--
-- v5: each end is an event, if `message.expired` is written. The trace is read from the inbox, within a bound.
--
-- KEYS[1] user · KEYS[2] due · KEYS[3] inbox · KEYS[4] events · KEYS[5] event log · KEYS[6] generation, then the i-th
-- message's record
-- ARGV[1] userId
-- ARGV[2] nextExpiry   the earliest expiry among the user's open messages, if the caller has read all;
--                      else ""
-- ARGV[3] readSeq      the user's seq when the caller began to read
-- ARGV[4] epoch        of the messages, and of readSeq; only its lineage counts
-- ARGV[5] events       see includes/event-log
-- then the i-th message's seq, ascending
--
-- Result: the number of ends written

--@include server-time
--@include of-history
--@include end-keep
--@include taken-out
--@include current-generation
--@include trace-of
--@include event-log
local LEFT_OVER = 1000 -- with this many acked entries left in the inbox, it looks for expired ones

local user = redis.call('HMGET', KEYS[1], 'seq', 'acked', 'epoch', 'ended', 'kept', 'endsWrittenAt', 'takenOut')
if not user[1] then return '0' end
local isTheirs = isOfHistory(user[3], ARGV[4])
-- A user without this history has acknowledged nothing of it since.
local seq, before = tonumber(user[1]), isTheirs and tonumber(user[2]) or 0
local acked, written, passed = before, 0, {}
local kept, endsWrittenAt, takenOut = tonumber(user[5]) or 0, tonumber(user[6]) or 0, tonumber(user[7]) or 0

-- Whether all numbers between `acked` and this one were removed.
local function isNext(inboxKey, messageSeq)
  if messageSeq == acked + 1 then return true end
  if messageSeq <= acked or takenOut <= acked then return false end
  local between = redis.call('XRANGE', inboxKey, ms(acked + 1) .. '-0', ms(messageSeq - 1) .. '-0', 'COUNT', 1)
  return #between == 0
end
local function passOver(messageSeq)
  if isTheirs and isNext(KEYS[3], messageSeq) then
    acked = messageSeq
    passed[#passed + 1] = ms(messageSeq) .. '-0'
  end
end

local events = ARGV[5] ~= '' and openEvents(ARGV[5], KEYS[4], KEYS[5], currentGeneration(KEYS[6])) or nil
local traceBytesLeft = 262144
local function writeEvent(recordKey, messageSeq, epoch, record)
  local id, trace = string.match(recordKey, '^[^}]*}:record:(.*)$'), ''
  if traceBytesLeft > 0 then
    local entryId = ms(messageSeq) .. '-0'
    local entry = redis.call('XRANGE', KEYS[3], entryId, entryId)[1]
    local value = entry and entry[2][2] or ''
    traceBytesLeft = traceBytesLeft - #value
    if string.match(value, '^[^\t]*\t%d+\t%d+\t([^\t]*)') == id then trace = traceOf(value) end
  end
  local acceptedAt = string.match(record, '^%d+\t[^\t]*\t(%d+)\t')
  events.write('x', ARGV[1], ms(messageSeq), epoch, { id, acceptedAt }, trace)
end

local function writeEnd(recordKey, record)
  redis.call('SET', recordKey, record, 'KEEPTTL')
  redis.call('PEXPIRE', recordKey, END_KEEP_MS, 'GT')
end
-- The record of an expired open message, made from its inbox entry; nil if the message ended before: a kept record
-- outlives its end.
local function lostRecord(messageSeq)
  if not isTheirs or messageSeq <= before or messageSeq <= kept then return nil end
  local id = ms(messageSeq) .. '-0'
  local entry = redis.call('XRANGE', KEYS[3], id, id)[1]
  local epoch, at, expiresAt = string.match(entry and entry[2][2] or '', '^([^\t]*)\t(%d+)\t(%d+)\t')
  if not epoch or not isOfHistory(epoch, ARGV[4]) then return nil end
  if tonumber(expiresAt) > now or tonumber(expiresAt) < endsWrittenAt then return nil end
  return ms(messageSeq) .. '\t' .. epoch .. '\t' .. at .. '\t' .. expiresAt .. '\t' .. ARGV[1] .. '\t?\t?'
end

for i = 7, #KEYS do
  local messageSeq = tonumber(ARGV[i - 1])
  local record = redis.call('GET', KEYS[i])
  if not record then
    record = lostRecord(messageSeq)
    if record then redis.call('SET', KEYS[i], record, 'PX', END_KEEP_MS) end
  end
  local recordSeq, epoch, expiresAt, tail
  if record then
    recordSeq, epoch, expiresAt, tail = string.match(record, '^(%d+)\t([^\t]*)\t%d+\t(%d+)\t(.*)$')
  end
  if tonumber(recordSeq) ~= messageSeq or not isOfHistory(epoch, ARGV[4]) then
    -- A record outlives its message: without one, or with one of a later message, this one ended long ago.
    passOver(messageSeq)
  elseif messageSeq > before and tonumber(expiresAt) <= now then
    local _, tabs = string.gsub(tail, '\t', '')
    if tabs == 2 then
      writeEnd(KEYS[i], record .. '\texpired ' .. ms(now))
      if events then writeEvent(KEYS[i], messageSeq, epoch, record) end
      written = written + 1
    elseif (string.match(tail, '\tpushed [^\t]*$') or string.match(tail, '\tfailed [^\t]*$')) and not string.match(tail, ' over$') then
      -- That end stays: nobody acked it, and `acked` now moves over it.
      writeEnd(KEYS[i], record .. ' over')
    end
    passOver(messageSeq)
  end
end
if not isTheirs then return tostring(written) end

if #passed > 0 then redis.call('XDEL', KEYS[3], unpack(passed)) end
if takenOut > acked then acked = overTakenOut(KEYS[3], acked, seq) end
if acked > before then
  redis.call('HSET', KEYS[1], 'acked', ms(acked), 'ended', endedUpTo(user[4], before, acked))
  if redis.call('XLEN', KEYS[3]) - (seq - acked) > LEFT_OVER then
    -- Expired entries that an older release left in the inbox: each call removes some, from the head on.
    local over
    for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', ms(acked) .. '-0', 'COUNT', 32)) do
      local expiresAt = tonumber(string.match(entry[2][2], '^[^\t]*\t%d+\t(%d+)\t'))
      if not expiresAt or expiresAt > now then break end
      over = tonumber(string.match(entry[1], '^%d+'))
    end
    if over then redis.call('XTRIM', KEYS[3], 'MINID', ms(over + 1) .. '-0') end
  end
end
if acked >= seq then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[2] ~= '' and tonumber(ARGV[3]) == seq then
  redis.call('HSET', KEYS[1], 'nextExpiry', ARGV[2])
  redis.call('ZADD', KEYS[2], 'LT', ARGV[2], ARGV[1])
end
return tostring(written)
