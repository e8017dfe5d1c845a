#!lua
-- keep-topic: every connection of a user has this topic, those of now and those to come.
--
-- The nodes that hold the user are told in the same step; told again, they do nothing, so that a repeated call
-- heals one that a node has missed.
--
-- KEYS[1] kept topics (hash: topic -> since) · KEYS[2] routes
-- ARGV[1] userId · ARGV[2] topic · ARGV[3] limit  topics that a user may have · ARGV[4] channel  prefix of a node's
-- channel name
-- Result: "kept" · "known" (it was kept already) · "full" (nothing was changed)

--@include server-time
--@include live-nodes

local isKnown = redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1
if not isKnown then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 'full' end
  redis.call('HSET', KEYS[1], ARGV[2], ms(now))
end
for _, node in ipairs((liveNodes(KEYS[2], ms(now)))) do
  redis.call('SPUBLISH', ARGV[4] .. node, 'topics\n' .. ARGV[1] .. '\t' .. ARGV[2] .. '\t+')
end
return isKnown and 'known' or 'kept'
