-- Notes how far the partition's clock has come, and returns how far it was set back since, ms, 0 for not at all. A step
-- of up to a second is waited out. While it is set back, the note stays, unless all that was written before is right
-- again. Also checks the generation, in every partition, however quiet, and notes the process if it is not noted. Needs
-- server-time and current-generation.
local function noteClock(generationKey, isRightAgain)
  currentGeneration(generationKey)
  local replid, run, noted = unpack(redis.call('HMGET', generationKey, 'replid', 'run', 'at'))
  -- A release that knows `replid` alone wrote it: the next change of it must be judged by the process too.
  if string.match(run or '', '^%x*') ~= replid then noteRun(generationKey, replid, redis.call('INFO', 'server')) end
  local at = tonumber(noted)
  local back = at and at - now or 0
  if back > 1000 and not isRightAgain then return back end
  if not at or back <= -1000 or isRightAgain then redis.call('HSET', generationKey, 'at', ms(now)) end
  return 0
end
