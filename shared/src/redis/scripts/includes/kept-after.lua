-- After which number a user's inbox is whole, where a reader that has everything up to `after` misses something: it was
-- acknowledged by a quicker device of the user, and trimmed. nil where nothing is missed.
--
-- Only the head of an inbox is trimmed, up to `acked` at most. What has ended is taken out by its number (inbox/expire.lua):
-- a hole behind an entry is no loss, and one at the head is none where all of it lies within `ended`, "from to": the
-- numbers above `from`, up to `to`, ended without having been acknowledged. So trimming itself has nothing to write, and
-- what an older release has trimmed is told, too.
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
