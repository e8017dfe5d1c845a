#!lua flags=allow-oom
-- ack: moves users' `acked` forward.
--
-- v2: what a connection that is behind (inbox/hold-history.lua) still lacks is not trimmed, within a bound.
-- v3: a user who acknowledges again within a moment stays in `due`, whatever is open: the next message is near, and
-- need not arm the user again. The wake removes such a user. So a busy user costs one wake in an ack timeout, where
-- each message cost two writes to `due`. A user who gets a message now and then leaves at once, and is never woken.
--
-- v4: if `message.delivered` is written, each message that it delivers gets its event in this step
-- (includes/delivered-events). The keys for that come last, so that a call without them costs nothing more.
--
-- KEYS[1] due, then two for each user: user (hash) · inbox (stream)
-- if deliveries are events, then: events (stream) · event log (hash) · generation
-- ARGV[1] history      acked messages that stay readable for a user's other devices
-- ARGV[2] slowHistory  acked messages that stay for a connection that is behind, at most
-- ARGV[3] momentMs     a user who acknowledged something this recently stays in `due`
-- then two for each user: epoch · seq
-- if deliveries are events, then: events  see includes/event-log
--
-- Runs when memory is full too: acks free it. Never creates a hash, never moves back, never beyond `seq`; an ack of a
-- foreign epoch changes nothing. The user leaves `due` only when everything is acked. (Acks of older
-- releases remove the user then at once. So `accept` never trusts that a user is in it.)
--
-- Result: lines, one for each user: the new `acked`, or "-" if the epoch is not the user's (or there is no hash);
-- if it moved, TAB and by how many numbers, or with "+" behind that if the call was long enough: the same
-- acknowledgement then moves it further

--@include server-time
--@include slow-readers
--@include current-generation
--@include of-history
--@include trace-of
--@include event-log
--@include delivered-events
local history, slowHistory, nowText = tonumber(ARGV[1]), tonumber(ARGV[2]), ms(now)
local TRIM_STEP = 64 -- trim once in so many acks
local momentMs = tonumber(ARGV[3])
local lines = {}
local count, events = (#KEYS - 1) / 2, nil
if #KEYS % 2 == 0 then
  count = (#KEYS - 4) / 2
  events = openEvents(ARGV[#ARGV], KEYS[#KEYS - 2], KEYS[#KEYS - 1], currentGeneration(KEYS[#KEYS]))
end
for i = 1, count do
  local userKey = KEYS[i * 2]
  local user = redis.call('HMGET', userKey, 'seq', 'epoch', 'acked', 'ackedAt', 'ended')
  local seqText, ackedText = user[1], user[3]
  if not seqText or user[2] ~= ARGV[i * 2 + 2] then
    lines[i] = '-'
  else
    local targetText = ARGV[i * 2 + 3]
    -- (Arithmetic reads a text's number once, `tonumber` twice; mostly everything is acknowledged.)
    local target, acked, moved = targetText + 0, ackedText + 0, ''
    if targetText ~= seqText and target > seqText + 0 then target, targetText = seqText + 0, seqText end
    local delivered, isCut
    if events and target > acked then
      local wanted, userId = target, string.match(userKey, '^[^}]*}:user:(.*)$')
      target, delivered = findDelivered(KEYS[i * 2 + 1], userId, acked, target)
      isCut = target < wanted
      if isCut then targetText = ms(target) end
    end
    if target > acked then
      redis.call('HSET', userKey, 'acked', targetText, 'ackedAt', nowText)
      -- Counts from where this device, not an expiry, last moved it: else expiries would use up the steps.
      local from = acked
      if user[5] then
        local endedFrom, endedTo = string.match(user[5], '^(%d+) (%d+)$')
        if tonumber(endedTo) == acked then from = tonumber(endedFrom) end
      end
      if math.floor(target / TRIM_STEP) > math.floor(from / TRIM_STEP) then
        trimAcked(KEYS[i * 2 + 1], target, history, slowHistory, redis.call('HGET', userKey, 'slow'))
      end
      if delivered then writeDelivered(events, delivered) end
      moved = target - acked == 1 and '\t1' or '\t' .. ms(target - acked)
    else
      target, targetText = acked, ackedText
    end
    if isCut then moved = (moved == '' and '\t0' or moved) .. '+' end
    if targetText == seqText then
      -- (A time ahead was written by a clock that was since set back: it says nothing.)
      local sinceLast = now - (user[4] or 0)
      if sinceLast < 0 or sinceLast > momentMs then
        redis.call('ZREM', KEYS[1], string.match(userKey, '^[^}]*}:user:(.*)$'))
      end
    end
    lines[i] = targetText .. moved
  end
end
return table.concat(lines, '\n')
