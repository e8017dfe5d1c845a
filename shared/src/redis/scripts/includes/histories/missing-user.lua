-- seq, acked and epoch for a user without a hash. Without an inbox it begins at 0. With one it goes on at the inbox's
-- last number, and all that the inbox holds is delivered again. The epoch is new, but keeps the newest entry's lineage:
-- so what is acked from now on reads delivered in its record too.
local function missingUser(inboxKey, seed)
  if redis.call('EXISTS', inboxKey) == 0 then return 0, 0, seed .. '.0' end
  local seq = 0
  local info = redis.call('XINFO', 'STREAM', inboxKey)
  for f = 1, #info, 2 do
    if info[f] == 'last-generated-id' then seq = tonumber(string.match(info[f + 1], '^%d+')) end
  end
  local first = redis.call('XRANGE', inboxKey, '-', '+', 'COUNT', 1)[1]
  if not first then return seq, seq, seed .. '.0' end
  local newest = redis.call('XREVRANGE', inboxKey, '+', '-', 'COUNT', 1)[1]
  local lineage = string.match(newest[2][2], '^[^.\t]+')
  return seq, tonumber(string.match(first[1], '^%d+')) - 1, lineage .. '.' .. seed
end
