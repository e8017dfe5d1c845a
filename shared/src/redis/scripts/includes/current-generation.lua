-- The partition's generation. Another master than before (restart, failover, restore) may lack the tail that the
-- former one had answered for: it raises the generation, and with it every epoch handed out from then on.
local function currentGeneration(key)
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local known = redis.call('HMGET', key, 'replid', 'n')
  if known[1] == replid then return known[2] end
  local generation = tostring(redis.call('HINCRBY', key, 'n', 1))
  redis.call('HSET', key, 'replid', replid)
  return generation
end

-- The epoch that follows when the generation has changed: the lineage before the dot stays, so that what this Redis
-- still has keeps its states.
local function nextEpoch(epoch, seed) return string.match(epoch, '^[^.]+') .. '.' .. seed end
