#!lua flags=allow-oom
-- release-device: takes a device from its owner, if it still has this claim.
--
-- KEYS[1] device owner, in a slot of its own: this is the only key
-- ARGV[1] claimed  user TAB claim
--
-- Result: "1", or "0" if nothing was changed

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return '0' end
redis.call('DEL', KEYS[1])
return '1'
