#!lua flags=allow-oom
-- take-wechat-token: the access token of an app; and, if one is to be fetched, the right to fetch it.
--
-- One caller at a time is told to fetch. Its right ends after lockMs, so that a dead one delays nobody, and carries a
-- fence, so that one that was slow cannot overwrite what came after it (keep-wechat-token.v1). The others are told to
-- wait, or to leave WeChat alone for a while, if the last fetch failed.
-- Allowed when Redis is out of memory: there is one hash for each app, and sending frees memory.
--
-- KEYS[1] token   hash: token id expiresAt refreshAt fence lockUntil restUntil restKind restReason doubted doubtedUntil
-- ARGV[1] lockMs
-- ARGV[2] keepMs  after which a hash that nobody uses ends
--
-- Result: state, number, kind, reason, leftMs, refreshInMs, id, token, separated by tabs
--   state    "good" · "fetch", number: the fence · "wait", number: for so long at most · "rest", number: for so long,
--            kind and reason: why
--   leftMs   of the token, which may be used in every state; 0 if there is none, and then no id and no token

--@include server-time
local function number(text) return tonumber(text or '') or 0 end

local h = redis.call('HMGET', KEYS[1], 'token', 'id', 'expiresAt', 'refreshAt', 'fence', 'lockUntil', 'restUntil',
  'restKind', 'restReason')
local left = h[1] and number(h[3]) - now or 0
local isGood = left > 0
local refreshIn = number(h[4]) - now
local state, value, kind, reason = 'good', 0, '', ''
if not isGood or refreshIn <= 0 then
  if number(h[7]) > now then
    state, value, kind, reason = 'rest', number(h[7]) - now, h[8] or '', h[9] or ''
  elseif number(h[6]) > now then
    state, value = 'wait', number(h[6]) - now
  else
    -- Of the time, so that it grows even if the hash has ended meanwhile.
    state, value = 'fetch', math.max(now, number(h[5]) + 1)
    redis.call('HSET', KEYS[1], 'fence', ms(value), 'lockUntil', ms(now + tonumber(ARGV[1])))
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
if not isGood then left, refreshIn = 0, 0 end
return table.concat({
  state, ms(value), kind, reason, ms(left), ms(math.max(0, refreshIn)), isGood and h[2] or '', isGood and h[1] or ''
}, '\t')
