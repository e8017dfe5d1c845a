#!lua flags=allow-oom
-- touch-device: a provider took a push for a device. Notes when it was seen, unless it was noted lately, and that it
-- once took a push.
--
-- Since v2 the entry of an iPhone ends with TAB "t" and the time of the first push that was taken. An older release
-- keeps that part if it changes an entry, and drops it if a device is registered again.
--
-- Allowed when Redis is out of memory: an entry gets a few bytes longer, once, and the message was sent.
--
-- KEYS[1] devices
-- ARGV[1] deviceId
-- ARGV[2] atMs
-- ARGV[3] stepMs  a device that was seen less than this before stays as it is
--
-- Result: "1" if it was written; "0" if the device was seen lately, or is gone

local entry = redis.call('HGET', KEYS[1], ARGV[1])
local registeredAt, lastSeen, rest = string.match(entry or '', '^(%d+)\t(%d+)\t(.*)$')
if not lastSeen then return '0' end
local isNews = string.match(rest, '^%d+\t[^\t]*\tios\t') and not string.match(rest, '\tt%d+$')
if tonumber(ARGV[2]) - tonumber(lastSeen) >= tonumber(ARGV[3]) then
  lastSeen = ARGV[2]
elseif not isNews then
  return '0'
end
if isNews then rest = rest .. '\tt' .. ARGV[2] end
redis.call('HSET', KEYS[1], ARGV[1], registeredAt .. '\t' .. lastSeen .. '\t' .. rest)
return '1'
