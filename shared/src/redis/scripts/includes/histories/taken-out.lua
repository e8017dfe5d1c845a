-- Numbers that were removed from an inbox, because their messages were recalled or collapsed, must not hold `acked`: no
-- client will ever acknowledge them. What is above `acked` and not in the inbox has ended; only the head, up to
-- `acked`, is ever trimmed.
--
-- The user's hash has the highest of them (`takenOut`): while that is not above `acked`, no look is needed.
--
-- Where `acked` may be now: before the first entry above it, or at `seq` if there is none. An inbox that is gone
-- altogether proves nothing.
local function overTakenOut(inboxKey, acked, seq)
  if acked >= seq then return acked end
  local first = redis.call('XRANGE', inboxKey, ms(acked + 1) .. '-0', '+', 'COUNT', 1)[1]
  if first then return math.max(acked, math.min(seq, tonumber(string.match(first[1], '^%d+')) - 1)) end
  return redis.call('EXISTS', inboxKey) == 1 and seq or acked
end
-- The field `ended` once `acked` has moved over ended messages, see includes/kept-after.
local function endedUpTo(ended, before, to)
  local from, till = string.match(ended or '', '^(%d+) (%d+)$')
  if not from or tonumber(till) ~= before then from = ms(before) end
  return from .. ' ' .. ms(to)
end
