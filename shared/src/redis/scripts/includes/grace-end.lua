-- When to look again at a user without live nodes that counts as on its way back: when the grace lease is over; but a
-- clock that was set back since puts its end off, and nobody's wake.
local function graceEnd(routesKey)
  return math.min(tonumber(redis.call('ZREVRANGE', routesKey, 0, 0, 'WITHSCORES')[2]), now + 5000)
end
