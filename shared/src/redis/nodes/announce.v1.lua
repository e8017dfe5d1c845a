#!lua flags=allow-oom
-- announce: sets a key that ends by itself, or renews it.
--
-- Allowed when Redis is out of memory: a live node must not be taken for gone because of that, and a node that starts
-- must be able to accept connections, since their acks free memory. Each such key is a few bytes, for a short time.
--
-- KEYS[1] the key   string, in a slot of its own, with a TTL
-- ARGV[1] ttlMs
--
-- Result: "1" if it was there, "0" if it was not

local wasThere = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return wasThere == 1 and '1' or '0'
