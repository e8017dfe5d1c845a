#!lua flags=allow-oom
-- hold-history: a connection that has fallen behind reports its position, so that what its user's other devices
-- acknowledge is kept for it for a while. Once it is up to date again, it says so, and what was kept for it is removed.
--
-- Never creates the hash; an epoch that is not the user's changes nothing. Allowed when Redis is out of memory: it
-- adds a few bytes, which free more when they go.
--
-- KEYS[1] user · KEYS[2] inbox
-- ARGV[1] connection · ARGV[2] epoch
-- ARGV[3] seq       everything up to here was sent to it; "" if it is up to date
-- ARGV[4] history · ARGV[5] slowHistory   as in inbox/ack.lua
--
-- Result: "1"; "0" if the epoch is not the user's

--@include server-time
--@include slow-readers
local user = redis.call('HMGET', KEYS[1], 'epoch', 'acked', 'slow')
if user[1] ~= ARGV[2] then return '0' end
local slow = withReader(user[3], ARGV[1], tonumber(ARGV[3]))
if slow ~= '' then
  redis.call('HSET', KEYS[1], 'slow', slow)
elseif user[3] then
  redis.call('HDEL', KEYS[1], 'slow')
end
if ARGV[3] == '' then
  trimAcked(KEYS[2], tonumber(user[2]), tonumber(ARGV[4]), tonumber(ARGV[5]), slow)
end
return '1'
