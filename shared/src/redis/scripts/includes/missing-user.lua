-- Where a user without a hash stands, as seq and acked: at 0; or, where the inbox is still there, on at its last
-- number, with all that it holds to be delivered again.
local function missingUser(inboxKey)
  if redis.call('EXISTS', inboxKey) == 0 then return 0, 0 end
  local seq = 0
  local info = redis.call('XINFO', 'STREAM', inboxKey)
  for f = 1, #info, 2 do
    if info[f] == 'last-generated-id' then seq = tonumber(string.match(info[f + 1], '^%d+')) end
  end
  local first = redis.call('XRANGE', inboxKey, '-', '+', 'COUNT', 1)[1]
  return seq, first and tonumber(string.match(first[1], '^%d+')) - 1 or seq
end
