-- The partition's generation. After a restart, a failover or a restore, a master may lack the last writes that its
-- predecessor confirmed. Such a master raises the generation, and with it every epoch handed out from then on.
--
-- `since` says when that was seen: for a while the new master may not know routes that its predecessor had. The first
-- generation has none: there was nothing to lose.
--
-- `master_replid` changes with the history, but at other times too: when the first replica attaches, when the last one
-- left long ago, after `redis-cli --rdb`. The process is then the same (`run` holds the replid it was seen with, and
-- its run_id) and follows no other history (no `master_replid2`): nothing was lost. A release that knows `replid` alone
-- does not update `run`. The replid in `run` then differs, so `run` is ignored, and partitions/keep-time.lua writes it
-- anew.
--
-- A slot that moves in a cluster brings its partition into another process. Nothing was lost if that process has run
-- since before the former one last noted the time (`at`, see partitions/keep-time.lua), and was no replica: it was not
-- restarted in between. The margin allows for clocks that differ. Within `repl-backlog-ttl` a promoted replica still
-- shows its `master_replid2`.
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
  -- (A plain search: a pattern would be tried at each of some hundred characters, for as much as a small command.)
  local _, before = string.find(replication, 'master_replid:', 1, true)
  local replid = string.sub(replication, before + 1, before + 40)
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

-- The epoch after a change of generation. The lineage before the dot stays, so what this Redis still has keeps its
-- states.
local function nextEpoch(epoch, seed) return string.match(epoch, '^[^.]+') .. '.' .. seed end
