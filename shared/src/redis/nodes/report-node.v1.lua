#!lua flags=allow-oom
-- report-node: notes what a push node says of itself, and answers what an operator has asked of it.
--
-- Allowed when Redis is out of memory: a few bytes for each node, and operators look then, too. What a node that is
-- gone for an hour has left goes, a few fields with each call, whoever makes it.
--
-- KEYS[1] nodes  hash, in a slot of its own: "node:" id -> lease end, server ms TAB JSON; "drain:" id -> "1" or "0"
-- ARGV[1] nodeId
-- ARGV[2] ttlMs  how long the report counts without the next one
-- ARGV[3] report JSON text
--
-- Result: "1" to drain · "0" to drain no longer · "" nobody has asked

--@include server-time
local KEEP_MS, LOOKED_AT = 3600000, 3
redis.call('HSET', KEYS[1], 'node:' .. ARGV[1], ms(now + tonumber(ARGV[2])) .. '\t' .. ARGV[3])
for _, field in ipairs(redis.call('HRANDFIELD', KEYS[1], LOOKED_AT)) do
  local id = string.match(field, '^%l+:(.*)$') or ''
  local leaseEnd = string.match(redis.call('HGET', KEYS[1], 'node:' .. id) or '', '^%d+') or '0'
  if tonumber(leaseEnd) + KEEP_MS < now then redis.call('HDEL', KEYS[1], field) end
end
return redis.call('HGET', KEYS[1], 'drain:' .. ARGV[1]) or ''
