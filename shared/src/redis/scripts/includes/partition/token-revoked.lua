-- tokenRevoked: whether a token is revoked, by the keys of its user's partition.
-- generationKey, sessionKey and tokenKey as PartitionKeys names them; generation: the token's own, as text. If a
-- token has no session, or its issuer's sessions are not known here, the session id in its key is empty.
local function tokenRevoked(generationKey, sessionKey, tokenKey, generation)
  local current = redis.call('GET', generationKey)
  if current and tonumber(generation) < tonumber(current) then return true end
  return redis.call('EXISTS', sessionKey, tokenKey) > 0
end
