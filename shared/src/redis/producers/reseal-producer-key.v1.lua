#!lua flags=allow-oom
-- reseal-producer-key: replaces sealed secrets of a producer's key by the same secrets, sealed with another encryption
-- key.
--
-- Only values that are still as they were read: a key that was rotated meanwhile, or taken over from a file, was sealed
-- anew then. The new values are no longer and no more than the old ones, so it is allowed when Redis is out of memory.
--
-- KEYS[1] producerKey (hash), in auth's slot: this is the only key
-- ARGV[1] number of fields; then for each its name, the value that was read, and its replacement
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
