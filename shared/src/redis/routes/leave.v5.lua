#!lua flags=allow-oom
-- leave: removes closed connections from their users' routes.
--
-- A close that is no sign-out leaves a grace lease: a member with "-" for a node. Nothing is published to it, and it
-- counts against no limit, but while it exists its user is not offline: a deploy, a tunnel or a page that reloads
-- rings no phone.
--
-- v2: the last connection leaves the time in its user's hash, see presence/read-last-seen.lua. A hash that is gone (its
-- user was erased) is not made again for that.
-- v3: of many connections in one call. A user whose keys Redis refuses delays nobody else.
-- v4: if `user.online` or `user.offline` is written, the last one brings its user's next look forward
-- (events/look-online.lua).
-- v5: one command less: `seenAt` is written first, and the hash removed if that is all it has.
-- Allowed when Redis is out of memory: a connection makes room, and the time replaces an earlier one.
--
-- KEYS[2i-1] routes · KEYS[2i] user (hash)   of the i-th connection's user
-- if such events are written, then: online (sorted set: user -> next look)
-- ARGV[2i-1] member · ARGV[2i] graceMs  0 for a sign-out
--
-- Result: a line for each: "1" if it was registered; "0" if it was not (evicted, pruned), and nothing was
--   changed; "error" TAB what Redis says of that user's keys

--@include server-time

--@include route-member

local isOnlineKept, nowText = #KEYS % 2 == 1, ms(now)

local function leave(routesKey, userKey, left, graceMs)
  local isThere, isLast, latest = false, true, now + graceMs
  local members = redis.call('ZRANGE', routesKey, 0, -1, 'WITHSCORES')
  for m = 1, #members, 2 do
    local member, ends = members[m], tonumber(members[m + 1])
    -- Its node may have marked it as leaving in the meantime.
    if member == left or member == left .. '/leaving' then
      isThere = true
    elseif ends >= now then
      latest = math.max(latest, ends)
      if not isGraceLease(member) then isLast = false end
    end
  end
  if not isThere then return '0' end
  -- The grace lease first: a set that is empty for a moment loses its time to live.
  if graceMs > 0 then
    local connectTime, rest = string.match(left, '^(%d+)/[^/]+/(.*)$')
    redis.call('ZADD', routesKey, ms(now + graceMs), connectTime .. '/-/' .. rest)
  end
  redis.call('ZREM', routesKey, left, left .. '/leaving')
  if isLast then
    -- Nobody renews what is left.
    if latest > now then redis.call('PEXPIRE', routesKey, ms(latest - now)) end
    if isOnlineKept then
      redis.call('ZADD', KEYS[#KEYS], 'XX', 'LT', ms(latest > now and latest + 1 or now),
        string.match(userKey, '^[^}]*}:user:(.*)$'))
    end
    -- A field that is new may be the only one.
    if redis.call('HSET', userKey, 'seenAt', nowText) == 1 and redis.call('HLEN', userKey) == 1 then
      redis.call('DEL', userKey)
    end
  end
  return '1'
end

local answers = {}
for i = 1, math.floor(#KEYS / 2) do
  local ok, answer = pcall(leave, KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i - 1], tonumber(ARGV[2 * i]))
  answers[i] = ok and answer or 'error\t' .. (type(answer) == 'table' and answer.err or tostring(answer))
end
return table.concat(answers, '\n')
