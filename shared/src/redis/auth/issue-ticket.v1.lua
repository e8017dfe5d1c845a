#!lua flags=allow-oom
-- issue-ticket: stores a ticket's token.
--
-- Allowed when Redis is out of memory: the ticket expires within a minute or so, and a client that connects
-- with it acknowledges, which frees memory.
--
-- KEYS[1] ticket  string with a TTL, in a slot of its own
-- ARGV[1] token   JSON
-- ARGV[2] ttlMs
--
-- Result: "issued"

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'issued'
