-- Whether the caller's token is not the owner's, or its lease is over: such a caller must change nothing.
local function isStale(ownerKey, token, at)
  local owner = redis.call('HMGET', ownerKey, 'token', 'until')
  return owner[1] ~= token or (tonumber(owner[2]) or 0) <= at
end
