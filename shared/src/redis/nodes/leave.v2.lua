#!lua flags=allow-oom
-- leave: takes a connection that has closed out of its user's routes.
--
-- A close that is no sign-out leaves a grace lease: a member with "-" for a node. Nothing is published to it, and it
-- counts against no limit, but while it is there its user is not offline: a deploy, a tunnel or a page that reloads
-- rings no phone.
--
-- v2: the last connection leaves the time in its user's hash, see presence/read-last-seen.lua. A hash that is gone (its
-- user was erased) is not made again for that.
-- Allowed where Redis is out of memory: a connection makes room, and the time replaces an earlier one.
--
-- KEYS[1] routes · KEYS[2] user (hash)
-- ARGV[1] member · ARGV[2] graceMs  0 for a sign-out
--
-- Result: "1" where it was registered; "0" where it was not (evicted, pruned), and nothing was changed

--@include server-time
-- Its node may have marked it as leaving in the meantime.
if redis.call('ZREM', KEYS[1], ARGV[1], ARGV[1] .. '/leaving') == 0 then return '0' end

local isLast = true
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ms(now), '+inf')) do
  if not string.match(member, '^%d+/%-/') then isLast = false end
end
if isLast and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'seenAt', ms(now)) end

local graceMs = tonumber(ARGV[2])
if graceMs > 0 then
  local connectTime, rest = string.match(ARGV[1], '^(%d+)/[^/]+/(.*)$')
  redis.call('ZADD', KEYS[1], ms(now + graceMs), connectTime .. '/-/' .. rest)
  if redis.call('PTTL', KEYS[1]) < graceMs then redis.call('PEXPIRE', KEYS[1], ms(graceMs)) end
end
return '1'
