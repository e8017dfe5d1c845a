#!lua flags=allow-oom
-- erase-user: the first step of erasing a person: nothing is sent to them any more, and no token of theirs is good.
--
-- The nodes are told in the same step, so that a connection that registers comes either before it, and is closed, or
-- after it, and is refused for its token. What is accepted afterwards begins a new history: neither hash nor inbox is
-- left to go on from. That is how the steps that follow tell what is to be erased from what came later.
-- Allowed where Redis is out of memory: it frees.
--
-- KEYS[1] user · KEYS[2] inbox · KEYS[3] routes · KEYS[4] sessions · KEYS[5] due · KEYS[6] token generation
-- ARGV[1] userId
-- ARGV[2] channel           of every node
-- ARGV[3] generationKeepMs  how long the generation is kept: longer than any token lives
--
-- Result: how many messages the inbox held

--@include server-time
-- Of another kind, these fail here, before anything is written.
redis.call('ZCARD', KEYS[5])
local generation = math.max((tonumber(redis.call('GET', KEYS[6])) or 0) + 1, now)
-- An inbox of another kind goes like any other.
local messages = redis.pcall('XLEN', KEYS[2])

redis.call('SET', KEYS[6], ms(generation), 'PX', ARGV[3])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('SPUBLISH', ARGV[2], 'erase-user\n' .. ARGV[1])
return ms(tonumber(messages) or 0)
