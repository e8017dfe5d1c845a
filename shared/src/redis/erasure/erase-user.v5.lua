#!lua flags=allow-oom
-- erase-user: the first step of erasing a user: nothing more is sent to them, and none of their tokens is good.
--
-- The same step tells the nodes: a connection that registered before it is closed, and one that registers after it is
-- refused for its token. What is accepted afterwards begins a new history, as there is no hash or inbox to go on from.
-- By that the later steps distinguish what to erase from what came later.
-- The user's schedules go first: as long as one is left that the caller did not name, nothing else happens. What is
-- scheduled afterwards stays.
--
-- Allowed when Redis is out of memory: it frees memory.
--
-- v3: the schedules and the user's collapse keys go too.
--
-- v4: the user is no longer among those online: no event says so, since none may name them.
--
-- v5: the nodes are told the generation, too: a node may hear it late, when its user has signed in anew. It has a line of
-- its own, which a node of the release before takes for the name of nobody.
--
-- KEYS[1] user · KEYS[2] inbox · KEYS[3] routes · KEYS[4] sessions · KEYS[5] due · KEYS[6] token generation ·
-- KEYS[7] kept topics · KEYS[8] collapsed · KEYS[9] scheduled · KEYS[10] schedules of the user ·
-- KEYS[11] online, then the records of some of the schedules
-- ARGV[1] userId
-- ARGV[2] channel           of every node
-- ARGV[3] generationKeepMs  how long the generation is kept: longer than any token lives
-- then the i-th schedule's member of KEYS[10]
--
-- Result: "more" if the user has further schedules; else how many messages the inbox held

--@include server-time
--@include end-keep
--@include scheduled-record
-- Keys of another kind fail here, before anything is written.
redis.call('ZCARD', KEYS[5])
redis.call('ZCARD', KEYS[9])
redis.call('ZCARD', KEYS[11])
for i = 4, #ARGV do
  -- A record that says otherwise by now is found with all others.
  local waiting = readScheduled(redis.call('GET', KEYS[8 + i]) or '')
  if waiting and waiting.recipient == ARGV[1] then redis.call('UNLINK', KEYS[8 + i]) end
  takeScheduled(KEYS[9], KEYS[10], ARGV[i] .. '\t' .. ARGV[1])
end
if redis.call('ZCARD', KEYS[10]) > 0 then return 'more' end

local generation = math.max((tonumber(redis.call('GET', KEYS[6])) or 0) + 1, now)
-- An inbox of another type is removed like any other.
local messages = redis.pcall('XLEN', KEYS[2])

redis.call('SET', KEYS[6], ms(generation), 'PX', ARGV[3])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[7], KEYS[8])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[11], ARGV[1])
redis.call('SPUBLISH', ARGV[2], 'erase-user\n' .. ARGV[1] .. '\n\t' .. ms(generation))
return ms(tonumber(messages) or 0)
