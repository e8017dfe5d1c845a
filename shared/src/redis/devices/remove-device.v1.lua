#!lua flags=allow-oom
-- remove-device: removes a device from its user's hash.
--
-- KEYS[1] devices
-- ARGV[1] deviceId
-- ARGV[2] claim  only if this registration wrote it; "" for any
--
-- Result: the claim of what was removed; "" if nothing was

local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return '' end
local claim = string.match(entry, '^%d+\t%d+\t%d+\t([^\t]*)') or '-'
if ARGV[2] ~= '' and ARGV[2] ~= claim then return '' end
redis.call('HDEL', KEYS[1], ARGV[1])
return claim
