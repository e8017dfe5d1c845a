#!lua flags=allow-oom
-- trim-events: drops events that are older than they are kept, a bounded number a call, and notes how far.
-- Allowed when Redis is out of memory: it frees some.
--
-- KEYS[1] owner · KEYS[2] events · KEYS[3] event log
-- ARGV[1] token · ARGV[2] keepMs
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale", or dropped TAB how many are kept TAB the age of the oldest, ms

--@include server-time
--@include refuse-stale
local MAX_ENTRIES = 1000
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

redis.call('HEXISTS', KEYS[3], 'trimmed')
local old = redis.call('XRANGE', KEYS[2], '-', ms(math.max(0, now - tonumber(ARGV[2]))), 'COUNT', MAX_ENTRIES)
if #old > 0 then
  local last = old[#old][1]
  local time, number = string.match(last, '^(%d+)-(%d+)$')
  redis.call('XTRIM', KEYS[2], 'MINID', time .. '-' .. ms(tonumber(number) + 1))
  redis.call('HSET', KEYS[3], 'trimmed', last)
end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local age = first and math.max(0, now - tonumber(string.match(first[1], '^%d+'))) or 0
return ms(#old) .. '\t' .. ms(redis.call('XLEN', KEYS[2])) .. '\t' .. ms(age)
