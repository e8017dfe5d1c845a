#!lua flags=allow-oom
-- reseal-producer-key: what is sealed of a producer's key is replaced by the same, sealed with another encryption key.
--
-- Only what is still there as it was read: a key that was rotated meanwhile, or taken over from a file, has been sealed
-- anew by whoever did it. Neither longer nor more than what it replaces, so it is allowed where Redis is out of memory.
--
-- KEYS[1] producerKey (hash), in auth's slot: this is the only key
-- ARGV[1] number of fields; then for each its name, the value that was read, and the one that replaces it
--
-- Result: how many were replaced, as a string

local replaced = 0
for a = 2, 3 * tonumber(ARGV[1]), 3 do
  if redis.call('HGET', KEYS[1], ARGV[a]) == ARGV[a + 1] then
    redis.call('HSET', KEYS[1], ARGV[a], ARGV[a + 2])
    replaced = replaced + 1
  end
end
return tostring(replaced)
