#!lua flags=allow-oom
-- expire: writes the end of messages whose time is over, and lets `acked` move over what has ended.
--
-- Run by whoever comes upon such a message first (node, dispatcher, a reader of its state), before skipping it.
--
-- KEYS[1] user · KEYS[2] due, then the i-th message's record
-- ARGV[1] userId
-- ARGV[2] nextExpiry   the earliest expiry among the user's open messages as the caller has read all of them;
--                      "" where it has not
-- ARGV[3] readSeq      the user's seq when the caller began to read
-- then the i-th message's seq, ascending
--
-- Result: the number of ends written

--@include server-time
local user = redis.call('HMGET', KEYS[1], 'seq', 'acked')
local seq, acked = tonumber(user[1]), tonumber(user[2])
if not seq then return '0' end

local written, before = 0, acked
for i = 3, #KEYS do
  local messageSeq = tonumber(ARGV[i + 1])
  local record = redis.call('GET', KEYS[i])
  local recordSeq, expiresAt, tail
  if record then recordSeq, expiresAt, tail = string.match(record, '^(%d+)\t[^\t]*\t%d+\t(%d+)\t(.*)$') end
  if tonumber(recordSeq) ~= messageSeq then
    -- The record outlives its message: without one, or with one of a later message, this one ended long ago.
    if messageSeq == acked + 1 then acked = messageSeq end
  elseif messageSeq > before and tonumber(expiresAt) <= now then
    local _, tabs = string.gsub(tail, '\t', '')
    if tabs == 2 then
      redis.call('SET', KEYS[i], record .. '\texpired ' .. ms(now), 'KEEPTTL')
      written = written + 1
    elseif (string.match(tail, '\tpushed [^\t]*$') or string.match(tail, '\tfailed [^\t]*$')) and not string.match(tail, ' over$') then
      -- That end stays: nobody acked it, and `acked` moves over it now.
      redis.call('SET', KEYS[i], record .. ' over', 'KEEPTTL')
    end
    if messageSeq == acked + 1 then acked = messageSeq end
  end
end
if acked > before then redis.call('HSET', KEYS[1], 'acked', ms(acked)) end
if acked >= seq then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[2] ~= '' and tonumber(ARGV[3]) == seq then
  redis.call('HSET', KEYS[1], 'nextExpiry', ARGV[2])
  redis.call('ZADD', KEYS[2], 'LT', ARGV[2], ARGV[1])
end
return tostring(written)
