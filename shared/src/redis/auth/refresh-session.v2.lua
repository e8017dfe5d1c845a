#!lua flags=allow-oom
-- refresh-session: exchanges a refresh token for its successor.
--
-- The whole decision is one step. Of any number of callers with the same token, on any process, one rotates, and the
-- others get the same successor within the leeway. A token with an earlier number, or the previous one after the
-- leeway, is in two hands: the session ends for both, and the same step tells every node.
--
-- v2 also takes the successors that other processes may have made, and returns which one counts; what is stored is
-- unchanged.
--
-- KEYS[1] sessions · KEYS[2] tokenGeneration · KEYS[3] revokedSession
-- ARGV[1] userId · ARGV[2] sessionId
-- ARGV[3] number         of the presented token, 0 for a session's first; the caller has checked that the token was
--                        made here
-- ARGV[4] hash           of the presented token
-- ARGV[5] successorHash  of its successor, which is made from the token alone with auth's first encryption key
-- ARGV[6] leewayMs
-- ARGV[7] idleMs · ARGV[8] absoluteMs   see auth/open-session.lua
-- ARGV[9] keepMs         of a revocation: longer than any access token of the session may live
-- ARGV[10] channel       of all nodes, for this partition
-- ARGV[11…] successorHash of the successor by each further encryption key: while keys rotate, another process may
--                        have them in another order
--
-- Result: "rotated" TAB generation TAB 1 TAB content; "again" TAB generation TAB which TAB content, where `which` is
-- the current hash: 1 for ARGV[5], 2 for ARGV[11] and so on; "reused"; "reused-before" if that has ended the session
-- already; "revoked"; or "over" if there is no such session (any more)

--@include server-time

local function finish(outcome)
  redis.call('HDEL', KEYS[1], ARGV[2])
  return outcome
end

local ended = redis.call('GET', KEYS[3])
if ended then return ended == 'reused' and 'reused-before' or ended end
local session = redis.call('HGET', KEYS[1], ARGV[2])
if not session then return 'over' end
local number, current, previous, rotatedAt, createdAt, usedAt, generation, content =
  string.match(session, '^(%d+)\t([^\t]*)\t([^\t]*)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(.*)$')
if not number then return 'over' end
if tonumber(generation) < (tonumber(redis.call('GET', KEYS[2])) or 0) then return finish('revoked') end
if tonumber(usedAt) + tonumber(ARGV[7]) <= now or tonumber(createdAt) + tonumber(ARGV[8]) <= now then
  return finish('over')
end

local ahead = tonumber(ARGV[3]) - tonumber(number)
if ahead == -1 and ARGV[4] == previous and now - tonumber(rotatedAt) <= tonumber(ARGV[6]) then
  if ARGV[5] == current then return table.concat({ 'again', generation, 1, content }, '\t') end
  for a = 11, #ARGV do
    if ARGV[a] == current then return table.concat({ 'again', generation, a - 9, content }, '\t') end
  end
end
if ahead < 0 then
  redis.call('SET', KEYS[3], 'reused', 'PX', ARGV[9])
  redis.call('SPUBLISH', ARGV[10], 'revoke-session\n' .. ARGV[1] .. '\t' .. ARGV[2])
  return finish('reused')
end
-- A later number: this Redis has lost rotations that its predecessor confirmed. Only the seal tells who made the token,
-- and that is not enough.
if ahead > 0 or ARGV[4] ~= current then return 'over' end
local at = ms(now)
local rotated = { ms(tonumber(ARGV[3]) + 1), ARGV[5], ARGV[4], at, createdAt, at, generation, content }
redis.call('HSET', KEYS[1], ARGV[2], table.concat(rotated, '\t'))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return table.concat({ 'rotated', generation, 1, content }, '\t')
