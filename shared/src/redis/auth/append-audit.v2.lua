#!lua flags=allow-oom
-- append-audit: writes one entry to the audit log, once, however often it is sent.
--
-- No actor pushes out others' entries: beyond its share of the log, its own oldest entry makes room for its next.
--
-- KEYS[1] audit (stream) · KEYS[2] auditShare (list): the ids of this actor's entries, oldest first; in one slot, their own
-- ARGV[1] maxEntries  about how many are kept
-- ARGV[2] keepMs      how long an entry is kept
-- ARGV[3] nonce       identifies this entry
-- ARGV[4] isRepeated  "1" if a call with a lost answer may have written it already
-- ARGV[5..8] actor · action · target · details (JSON)
-- ARGV[9] share       entries that one actor may have in the log
--
-- Allowed when Redis is out of memory: actions in that state must be recorded too, and the log is bounded.
--
-- v1 kept no list: its entries count towards no share, and are removed by number and age alone.
--
-- Result: the entry's id

--@include server-time
if ARGV[4] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
    if entry[2][2] == ARGV[3] then return entry[1] end
  end
end
local id = redis.call('XADD', KEYS[1], '*', 'n', ARGV[3], 'a', ARGV[5], 'c', ARGV[6], 't', ARGV[7], 'd', ARGV[8])
local over = redis.call('RPUSH', KEYS[2], id) - tonumber(ARGV[9])
-- More than one after the share was made smaller; never so many that others wait for it.
for _ = 1, math.min(over, 100) do redis.call('XDEL', KEYS[1], redis.call('LPOP', KEYS[2])) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', ms(math.max(now - tonumber(ARGV[2]), 0)))
return id
