#!lua flags=allow-oom
-- expire: writes the end of messages whose time is over, lets `acked` move over what has ended, and takes that out of
-- the inbox: it serves nobody any more, and a user who never acknowledges would keep it all.
--
-- Run by whoever comes upon such a message first (node, dispatcher, a reader of its state), before skipping it. Of a
-- user whose history has changed since (erased, and there again) nothing is moved: the numbers are those of another.
--
-- v2: takes the epoch that the numbers belong to; takes out of the inbox what `acked` moves over, and notes that it
-- ended (`ended`, includes/kept-after).
-- v3: an end is kept for a day and more, however short its record had to live; where an open message's record is gone
-- (nobody has looked for a day, inbox/keep-records.lua), it is made again, with its end.
--
-- KEYS[1] user · KEYS[2] due · KEYS[3] inbox, then the i-th message's record
-- ARGV[1] userId
-- ARGV[2] nextExpiry   the earliest expiry among the user's open messages as the caller has read all of them;
--                      "" where it has not
-- ARGV[3] readSeq      the user's seq when the caller began to read
-- ARGV[4] epoch        of the messages, and of readSeq; what counts of it is the lineage
-- then the i-th message's seq, ascending
--
-- Result: the number of ends written

--@include server-time
--@include of-history
--@include end-keep
local LEFT_OVER = 1000 -- acked entries, from which on it looks for such as are over

local user = redis.call('HMGET', KEYS[1], 'seq', 'acked', 'epoch', 'ended', 'kept', 'endsWrittenAt')
if not user[1] then return '0' end
local isTheirs = isOfHistory(user[3], ARGV[4])
-- Whoever has no such history any more has acknowledged nothing of it since.
local seq, before = tonumber(user[1]), isTheirs and tonumber(user[2]) or 0
local acked, written, passed = before, 0, {}
local kept, endsWrittenAt = tonumber(user[5]) or 0, tonumber(user[6]) or 0

local function passOver(messageSeq)
  if isTheirs and messageSeq == acked + 1 then
    acked = messageSeq
    passed[#passed + 1] = ms(messageSeq) .. '-0'
  end
end

local function writeEnd(recordKey, record)
  redis.call('SET', recordKey, record, 'KEEPTTL')
  redis.call('PEXPIRE', recordKey, END_KEEP_MS, 'GT')
end
-- The record of an open message that is over, as its inbox entry tells it; nil where that has ended before: what was
-- kept outlives its end.
local function lostRecord(messageSeq)
  if not isTheirs or messageSeq <= before or messageSeq <= kept then return nil end
  local id = ms(messageSeq) .. '-0'
  local entry = redis.call('XRANGE', KEYS[3], id, id)[1]
  local epoch, at, expiresAt = string.match(entry and entry[2][2] or '', '^([^\t]*)\t(%d+)\t(%d+)\t')
  if not epoch or not isOfHistory(epoch, ARGV[4]) then return nil end
  if tonumber(expiresAt) > now or tonumber(expiresAt) < endsWrittenAt then return nil end
  return ms(messageSeq) .. '\t' .. epoch .. '\t' .. at .. '\t' .. expiresAt .. '\t' .. ARGV[1] .. '\t?\t?'
end

for i = 4, #KEYS do
  local messageSeq = tonumber(ARGV[i + 1])
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
      written = written + 1
    elseif (string.match(tail, '\tpushed [^\t]*$') or string.match(tail, '\tfailed [^\t]*$')) and not string.match(tail, ' over$') then
      -- That end stays: nobody acked it, and `acked` moves over it now.
      writeEnd(KEYS[i], record .. ' over')
    end
    passOver(messageSeq)
  end
end
if not isTheirs then return tostring(written) end

if acked > before then
  local from, to = string.match(user[4] or '', '^(%d+) (%d+)$')
  if tonumber(to) ~= before then from = ms(before) end
  redis.call('HSET', KEYS[1], 'acked', ms(acked), 'ended', from .. ' ' .. ms(acked))
  redis.call('XDEL', KEYS[3], unpack(passed))
  if redis.call('XLEN', KEYS[3]) - (seq - acked) > LEFT_OVER then
    -- What an older release has left there: a part of it a call, from the head on.
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
