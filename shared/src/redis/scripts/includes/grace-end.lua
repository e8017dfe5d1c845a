-- Until when a user without live nodes counts as on its way back.
local function graceEnd(routesKey)
  return tonumber(redis.call('ZREVRANGE', routesKey, 0, 0, 'WITHSCORES')[2])
end
