-- The number after which a user's inbox is complete, if a reader that has everything up to `after` misses something: a
-- quicker device of the user acknowledged it, and it was trimmed. nil if nothing is missed.
--
-- Only the head of an inbox is trimmed, up to `acked` at most. inbox/expire.lua removes ended messages by number, so a
-- gap after an entry is no loss. Nor is a gap at the head that is entirely within `ended`, "from to": the numbers
-- above `from`, up to `to`, ended without being acknowledged. So trimming has nothing to write, and what an older
-- release trimmed is reported too.
local function keptAfter(userKey, inboxKey, after)
  local user = redis.call('HMGET', userKey, 'seq', 'acked', 'ended')
  local seq, acked = tonumber(user[1]), tonumber(user[2])
  if not seq or after >= acked then return nil end
  local first = redis.call('XRANGE', inboxKey, '-', '+', 'COUNT', 1)[1]
  local floor = first and tonumber(string.match(first[1], '^%d+')) - 1 or seq
  if floor <= after then return nil end
  local from, to = string.match(user[3] or '', '^(%d+) (%d+)$')
  if from and after >= tonumber(from) and floor <= tonumber(to) then return nil end
  return floor
end
