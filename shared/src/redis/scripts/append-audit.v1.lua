#!lua flags=allow-oom
-- append-audit: notes one act in the audit log, once, however often it is sent.
--
-- KEYS[1] audit (stream), in a slot of its own: this is the only key
-- ARGV[1] maxEntries  kept, about
-- ARGV[2] keepMs      for how long an entry is kept
-- ARGV[3] nonce       names this act
-- ARGV[4] isRepeated  "1" where it may have been noted already, by a call whose answer was lost
-- ARGV[5..8] actor · action · target · details (JSON)
--
-- Allowed where Redis is out of memory: what was done there must be seen too, and the log is bounded.
--
-- Result: the entry's id

--@include server-time
if ARGV[4] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
    if entry[2][2] == ARGV[3] then return entry[1] end
  end
end
local id = redis.call('XADD', KEYS[1], '*', 'n', ARGV[3], 'a', ARGV[5], 'c', ARGV[6], 't', ARGV[7], 'd', ARGV[8])
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', ms(math.max(now - tonumber(ARGV[2]), 0)))
return id
