#!lua flags=allow-oom
-- rotate-producer-key: gives a producer's key a new secret; the former one may stay good for a while.
--
-- KEYS[1] producerKey (hash), in auth's slot: this is the only key
-- ARGV[1] secretSha256  of the new secret
-- ARGV[2] sealedSecret  the new secret, encrypted; kept only if the key may sign
-- ARGV[3] overlapMs     how long the former secret stays good; 0 ends it and all earlier ones at once
-- ARGV[4] maxFormer     former secrets kept; the oldest go
-- ARGV[5] rotatedAt     RFC 3339, for people
--
-- Sent again with the same secret, because its answer was lost, it changes nothing more.
-- Allowed when Redis is out of memory: a leaked secret can be replaced at any time.
--
-- Result: "rotated"; "revoked" or "missing" if nothing was changed

--@include server-time
local key = redis.call('HMGET', KEYS[1], 'secretSha256', 'revokedAt', 'sealedSecret', 'former')
local sha256, revokedAt, sealed, former = key[1], key[2], key[3], key[4]
if not sha256 then return 'missing' end
if revokedAt then return 'revoked' end
if sha256 == ARGV[1] then return 'rotated' end

local kept = {}
local overlapMs = tonumber(ARGV[3])
if overlapMs > 0 then
  kept[1] = sha256 .. '\t' .. ms(now + overlapMs) .. '\t' .. (sealed or '')
  for line in string.gmatch(former or '', '[^\n]+') do
    local untilMs = string.match(line, '^%x+\t(%d+)\t')
    if untilMs and tonumber(untilMs) > now and #kept < tonumber(ARGV[4]) then kept[#kept + 1] = line end
  end
end
redis.call('HSET', KEYS[1], 'secretSha256', ARGV[1], 'rotatedAt', ARGV[5])
if sealed then redis.call('HSET', KEYS[1], 'sealedSecret', ARGV[2]) end
if #kept > 0 then
  redis.call('HSET', KEYS[1], 'former', table.concat(kept, '\n'))
else
  redis.call('HDEL', KEYS[1], 'former')
end
return 'rotated'
