#!lua flags=allow-oom
-- drop-topic: stops keeping a topic for a user; the nodes that hold the user are told in the same step.
--
-- KEYS[1] kept topics (hash: topic -> since) · KEYS[2] routes
-- ARGV[1] userId · ARGV[2] topic · ARGV[3] channel  prefix of a node's channel name
-- Result: "dropped" · "unknown" (it was not kept; nodes are told all the same, for a repeated call)

--@include server-time
--@include live-nodes

local dropped = redis.call('HDEL', KEYS[1], ARGV[2])
for _, node in ipairs((liveNodes(KEYS[2], ms(now)))) do
  redis.call('SPUBLISH', ARGV[3] .. node, 'topics\n' .. ARGV[1] .. '\t' .. ARGV[2] .. '\t-')
end
return dropped == 1 and 'dropped' or 'unknown'
