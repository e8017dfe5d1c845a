#!lua flags=allow-oom
-- write-webhook: creates, changes or removes a webhook, unless it was changed meanwhile.
--
-- Allowed when Redis is out of memory: webhooks are few, and one that misbehaves can be paused at any time.
--
-- KEYS[1] webhooks  hash: id -> JSON; "version" -> grows with each change
-- ARGV[1] id
-- ARGV[2] expected  what is stored; "" for nothing
-- ARGV[3] text      what to store; "" for nothing
-- ARGV[4] max       webhooks there may be
--
-- Result: "written" · "changed" (something else is stored) · "full": nothing was changed then

local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if present ~= ARGV[2] then return 'changed' end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  local count = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], 'version')
  if present == '' and count >= tonumber(ARGV[4]) then return 'full' end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 'written'
