-- The partition's generation. Another master than before (restart, failover, restore) may lack the tail that the
-- former one had answered for: it raises the generation, and with it every epoch handed out from then on.
--
-- `since` says when that was seen: for a while the new master may not know of routes that its former self had. The
-- first generation has none: there was nothing to lose.
local function currentGeneration(key)
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local known = redis.call('HMGET', key, 'replid', 'n', 'since')
  if known[1] == replid then return known[2], tonumber(known[3]) or 0 end
  local generation, since = tostring(redis.call('HINCRBY', key, 'n', 1)), known[1] and now or 0
  redis.call('HSET', key, 'replid', replid, 'since', ms(since))
  return generation, since
end

-- The epoch that follows when the generation has changed: the lineage before the dot stays, so that what this Redis
-- still has keeps its states.
local function nextEpoch(epoch, seed) return string.match(epoch, '^[^.]+') .. '.' .. seed end
