#!lua flags=allow-oom
-- forget-workers: removes consumers of a fallback stream's group that hold nothing.
--
-- One step checks and removes: removing a consumer that has just read an entry would lose that entry. One that is alive
-- after all comes back with its next read. So anyone may call it.
--
-- KEYS[1] fallback stream
-- ARGV[1] group
-- ARGV[2] idleMs   how long they were not heard of, at least
-- ARGV[3] name     "" for all, else only this one
--
-- Result: the number removed

local function consumersOf(stream)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
  return consumers.err and {} or consumers
end

local removed = 0
if redis.call('EXISTS', KEYS[1]) == 0 then return '0' end
for _, fields in ipairs(consumersOf(KEYS[1])) do
  local consumer = {}
  for f = 1, #fields, 2 do consumer[fields[f]] = fields[f + 1] end
  local isMeant = ARGV[3] == '' or ARGV[3] == consumer.name
  if isMeant and consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return tostring(removed)
