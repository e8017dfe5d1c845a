-- The partition's generation. A master that may lack the tail which the former one had answered for (after a restart, a
-- failover, a restore) raises it, and with it every epoch handed out from then on.
--
-- `since` says when that was seen: for a while the new master may not know of routes that its former self had. The
-- first generation has none: there was nothing to lose.
--
-- `master_replid` is what changes with the history, but not only then: the first replica that attaches changes it, the
-- last one that left long ago, `redis-cli --rdb`. Then the process is the same (`run`: the replid it was seen with, and
-- its run_id) and follows no other history (no `master_replid2`): nothing was lost. A release that knows `replid` alone
-- leaves `run` behind, and what stands there then belongs to another replid: it is not believed (and partitions/keep-time.lua
-- notes it anew).
--
-- A slot that was moved in a cluster brings its partition into a process that has run since before the former one last
-- noted the time (`at`, see partitions/keep-time.lua), and that was no replica: it was not restarted in between, and lacks
-- nothing. The margin is for clocks that differ; within `repl-backlog-ttl` a promoted replica still shows its
-- `master_replid2`.
local function wasMovedHere(server, at)
  local upSeconds = tonumber(string.match(server, 'uptime_in_seconds:(%d+)'))
  return at and upSeconds and string.match(server, '_mode:cluster')
    and now - upSeconds * 1000 < at - 60000 and now - at < 1800000
end

local function noteRun(key, replid, server)
  local runId = string.match(server, 'run_id:(%x+)') or ''
  redis.call('HSET', key, 'replid', replid, 'run', replid .. ' ' .. runId)
  return runId
end

local function currentGeneration(key)
  local replication = redis.call('INFO', 'replication')
  local replid = string.match(replication, 'master_replid:(%x+)')
  local known = redis.call('HMGET', key, 'replid', 'n', 'since')
  if known[1] == replid then return known[2], tonumber(known[3]) or 0 end

  local server = redis.call('INFO', 'server')
  local noted = redis.call('HMGET', key, 'run', 'at')
  local runId = noteRun(key, replid, server)
  if known[1] and string.match(replication, 'master_replid2:0+%s')
    and (noted[1] == known[1] .. ' ' .. runId or wasMovedHere(server, tonumber(noted[2]))) then
    return known[2], tonumber(known[3]) or 0
  end
  local generation, since = tostring(redis.call('HINCRBY', key, 'n', 1)), known[1] and now or 0
  redis.call('HSET', key, 'since', ms(since))
  return generation, since
end

-- The epoch that follows when the generation has changed: the lineage before the dot stays, so that what this Redis
-- still has keeps its states.
local function nextEpoch(epoch, seed) return string.match(epoch, '^[^.]+') .. '.' .. seed end
