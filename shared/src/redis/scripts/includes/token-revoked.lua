-- tokenRevoked: whether a token is good no longer, by the keys of its user's partition.
-- generationKey, sessionKey and tokenKey as PartitionKeys names them; generation: the token's own, as text; a token
-- without a session, or from an issuer whose sessions are not known here, brings an empty session id in its key.
local function tokenRevoked(generationKey, sessionKey, tokenKey, generation)
  local current = redis.call('GET', generationKey)
  if current and tonumber(generation) < tonumber(current) then return true end
  return redis.call('EXISTS', sessionKey, tokenKey) > 0
end
