#!lua flags=allow-oom
-- ack: moves users' `acked` forward.
--
-- v2: what a connection that is behind (inbox/hold-history.lua) still lacks is not trimmed, within a bound.
--
-- KEYS[1] due, then two for each user: user (hash) · inbox (stream)
-- ARGV[1] history      acked messages that stay readable for a user's other devices
-- ARGV[2] slowHistory  acked messages that stay for a connection that is behind, at most
-- then three for each user: userId · epoch · seq
--
-- Runs where memory is full too: acks free it. Never creates a hash, never moves back, never beyond `seq`; an ack of a
-- foreign epoch changes nothing. The user leaves `due` only when everything is acked.
--
-- Result: lines, one for each user: the new `acked`, or "-" where the epoch is not the user's (or there is no hash);
-- where it moved, TAB and by how many numbers

--@include server-time
--@include slow-readers
local history, slowHistory, nowText = tonumber(ARGV[1]), tonumber(ARGV[2]), ms(now)
local trimStep = 64 -- trim once in so many acks
local lines = {}
for i = 1, (#KEYS - 1) / 2 do
  local userKey, inboxKey = KEYS[i * 2], KEYS[i * 2 + 1]
  local userId, epoch, wanted = ARGV[i * 3], ARGV[i * 3 + 1], ARGV[i * 3 + 2]
  local user = redis.call('HMGET', userKey, 'seq', 'epoch', 'acked', 'ended')
  local seq, acked = tonumber(user[1]), tonumber(user[3])
  if not seq or user[2] ~= epoch then
    lines[i] = '-'
  else
    local target, targetText, moved = tonumber(wanted), wanted, ''
    if target > seq then target, targetText = seq, user[1] end
    if target > acked then
      redis.call('HSET', userKey, 'acked', targetText, 'ackedAt', nowText)
      -- Counts from where this device, not an expiry, last moved it: else expiries would use up the steps.
      local from = acked
      if user[4] then
        local endedFrom, endedTo = string.match(user[4], '^(%d+) (%d+)$')
        if tonumber(endedTo) == acked then from = tonumber(endedFrom) end
      end
      if math.floor(target / trimStep) > math.floor(from / trimStep) then
        trimAcked(inboxKey, target, history, slowHistory, redis.call('HGET', userKey, 'slow'))
      end
      moved = '\t' .. ms(target - acked)
      acked = target
    else
      targetText = user[3]
    end
    if acked == seq then redis.call('ZREM', KEYS[1], userId) end
    lines[i] = targetText .. moved
  end
end
return table.concat(lines, '\n')
