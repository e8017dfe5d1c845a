-- Who is in a topic, over all holders. A holder is a push node from its start, or from when it last wrote all it holds;
-- it says of a user how many connections are in the topic, and 0 while the last one has just gone: the user is still
-- there then. Two holders that both have a user count as one user.
--
-- counts: user -> "connections holders since"; under "" is the sum of what is shown. A user who is there without a
-- connection shows as one, so that a page reload, on another node too, changes nothing that others see.
local function shownOf(text) return text and math.max(1, tonumber(string.match(text, '^%d+'))) or 0 end

-- What one holder says of a user: a number of connections as text, or false if it no longer has the user. A former
-- holder's word goes with it, if its key is given.
-- Returns whether anything changed that others see.
local function setPresence(usersKey, countsKey, ofKey, formerKey, user, said)
  local before = redis.call('HGET', ofKey, user)
  local formerly = formerKey and redis.call('HGET', formerKey, user)
  if formerly then redis.call('HDEL', formerKey, user) end
  if said == before and not formerly then return false end

  if said then redis.call('HSET', ofKey, user, said) else redis.call('HDEL', ofKey, user) end
  local text = redis.call('HGET', countsKey, user)
  local connections, holders, since = string.match(text or '0 0 ' .. ms(now), '^(%d+) (%d+) (%d+)$')
  connections = connections + (said or 0) - (before or 0) - (formerly or 0)
  holders = holders + (said and 1 or 0) - (before and 1 or 0) - (formerly and 1 or 0)
  local shown = 0
  if holders > 0 then
    local counted = ms(connections) .. ' ' .. ms(holders) .. ' ' .. since
    shown = shownOf(counted)
    redis.call('HSET', countsKey, user, counted)
    if not text then redis.call('ZADD', usersKey, 0, user) end
  else
    redis.call('HDEL', countsKey, user)
    redis.call('ZREM', usersKey, user)
  end
  local change = shown - shownOf(text)
  if change ~= 0 then redis.call('HINCRBY', countsKey, '', ms(change)) end
  if redis.call('EXISTS', usersKey) == 0 then redis.call('DEL', countsKey) end
  return change ~= 0
end
