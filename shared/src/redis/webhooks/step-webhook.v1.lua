#!lua flags=allow-oom
-- step-webhook: how far a webhook has got in this partition, written by the partition's owner.
--
-- Allowed when Redis is out of memory: it is one small string, and what was delivered must not be delivered again.
--
-- KEYS[1] owner · KEYS[2] progress  string
-- ARGV[1] token
-- ARGV[2] mode  "begin": if nothing is stored · "step": if something is · "end": removes it
-- ARGV[3] text  see webhooks/webhook-progress.ts
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale" · "written" · "left" (the mode does not fit, so nothing was changed)

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end
if ARGV[2] == 'end' then
  redis.call('DEL', KEYS[2])
  return 'written'
end
local isThere = redis.call('EXISTS', KEYS[2]) == 1
if isThere ~= (ARGV[2] == 'step') then return 'left' end
redis.call('SET', KEYS[2], ARGV[3])
return 'written'
