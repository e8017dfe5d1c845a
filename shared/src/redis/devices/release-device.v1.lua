#!lua flags=allow-oom
-- release-device: makes a device nobody's, if it is still claimed as said.
--
-- KEYS[1] device owner, in a slot of its own: this is the only key
-- ARGV[1] claimed  user TAB claim
--
-- Result: "1", or "0": then nothing was changed

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return '0' end
redis.call('DEL', KEYS[1])
return '1'
