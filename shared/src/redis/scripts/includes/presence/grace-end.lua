-- When to look again at a user without live nodes that counts as on its way back: at the end of the grace lease. A
-- clock that was set back postpones that end, but not the wake.
local function graceEnd(routesKey)
  return math.min(tonumber(redis.call('ZREVRANGE', routesKey, 0, 0, 'WITHSCORES')[2]), now + 5000)
end
