#!lua flags=allow-oom
-- write-producer-key: creates a producer's key, or changes some of its fields.
--
-- Allowed when Redis is out of memory: keys are few; auth takes over its key file when it starts, and must come up for
-- clients, whose acks free memory; and a leaked key can be revoked at any time.
--
-- KEYS[1] producerKey     hash, in auth's slot as the next
-- KEYS[2] producerKeyIds  sorted set, all scores 0
-- ARGV[1] keyId
-- ARGV[2] mode    "set" · "revoke": an existing key gets the field, unless it has it already
-- ARGV[3] number of fields to remove, then these; then name and value in turn
--
-- Result: "written"; "missing" if the key to revoke is not there

if ARGV[2] == 'revoke' then
  if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
  redis.call('HSETNX', KEYS[1], ARGV[4], ARGV[5])
  return 'written'
end

local removed = tonumber(ARGV[3])
for a = 4, 3 + removed do redis.call('HDEL', KEYS[1], ARGV[a]) end
for a = 4 + removed, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[a], ARGV[a + 1]) end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 'written'
