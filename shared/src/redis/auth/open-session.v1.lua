#!lua flags=allow-oom
-- open-session: a user signs in, and a session begins with its first refresh token.
--
-- The generation is read in the same step: an earlier revocation does not concern the session, and a later one ends it.
--
-- Allowed when Redis is out of memory: without a token no client comes to acknowledge what fills the memory, and a
-- user's sessions are few and bounded.
--
-- KEYS[1] sessions · KEYS[2] tokenGeneration
-- ARGV[1] sessionId
-- ARGV[2] hash         of its first refresh token
-- ARGV[3] content      JSON, returned at each refresh
-- ARGV[4] idleMs       how long a session lives without a refresh
-- ARGV[5] absoluteMs   how long it lives in all
-- ARGV[6] maxSessions  a user's sessions, at least 1. Beyond it, sessions that were never refreshed go first (a page
--                      may ask for a token each time it is opened), then those with the oldest refresh
--
-- A session, see auth/refresh-session.lua: number TAB hash TAB previous hash TAB rotatedAt TAB createdAt TAB usedAt TAB
-- generation TAB content.
--
-- Result: the user's token generation

--@include server-time

local generation = redis.call('GET', KEYS[2]) or '0'
local maxSessions = tonumber(ARGV[6])
if redis.call('HLEN', KEYS[1]) >= maxSessions then
  local all, kept = redis.call('HGETALL', KEYS[1]), {}
  for i = 1, #all, 2 do
    local number, createdAt, usedAt, made =
      string.match(all[i + 1], '^(%d+)\t[^\t]*\t[^\t]*\t%d+\t(%d+)\t(%d+)\t(%d+)\t')
    usedAt = tonumber(usedAt) or 0
    local isOver = usedAt + tonumber(ARGV[4]) <= now
      or (tonumber(createdAt) or 0) + tonumber(ARGV[5]) <= now
      or (tonumber(made) or 0) < tonumber(generation)
    if isOver then
      redis.call('HDEL', KEYS[1], all[i])
    else
      kept[#kept + 1] = { id = all[i], rank = number == '0' and 0 or 1, usedAt = usedAt }
    end
  end
  table.sort(kept, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    if a.usedAt ~= b.usedAt then return a.usedAt < b.usedAt end
    return a.id < b.id
  end)
  for i = 1, #kept - maxSessions + 1 do redis.call('HDEL', KEYS[1], kept[i].id) end
end
local at = ms(now)
local session = table.concat({ '0', ARGV[2], '', '0', at, at, generation, ARGV[3] }, '\t')
redis.call('HSET', KEYS[1], ARGV[1], session)
-- Every other session in it was used no later than now.
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return generation
