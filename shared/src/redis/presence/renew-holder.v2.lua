#!lua flags=allow-oom
-- renew-holder: begins a node as a holder of presence in a partition, or renews its lease: one for all it holds.
--
-- The node learns here whether what it wrote is still known: it is not after the partition's master may have lost
-- writes (another generation), nor once the dispatcher has begun to remove the holder. A beginning that arrives after
-- that makes the holder known again, and empty: then it has a lower version than the node has an answer for. A
-- lease that has ended, but was not acted on, is as good as any.
-- Allowed when Redis is out of memory: a live node must not be taken for gone because of that.
--
-- KEYS[1] generation · KEYS[2] presenceLeases (sorted set) · KEYS[3] presenceNodes (hash)
-- ARGV[1] node · ARGV[2] number   which of the node's holders, growing
-- ARGV[3] leaseMs
-- ARGV[4] begins        "1" if this holder is new; else ""
-- ARGV[5] former        its former holder, which it is about to replace; "" for none
-- ARGV[6] formerLeaseMs how long that one stays: as long as it is being replaced, then 0
-- ARGV[7] written       the highest version of this holder's that was answered "ok"; 0 for none
--
-- Result: "ok", or "unknown": the node must begin as a new holder; nothing was changed

--@include server-time
--@include current-generation

local text = redis.call('HGET', KEYS[3], ARGV[1])
local number, version, generation = string.match(text or '', '^(%d+) (%d+) (%d+) %d+$')
local current = currentGeneration(KEYS[1])
if ARGV[4] == '1' and (not number or tonumber(number) < tonumber(ARGV[2])) then
  number, version, generation = ARGV[2], '0', current
end
-- (A beginning that comes twice must not set the version back.)
if number ~= ARGV[2] or generation ~= current or tonumber(version) < tonumber(ARGV[7]) then return 'unknown' end
redis.call('HSET', KEYS[3], ARGV[1], table.concat({ number, version, generation, ARGV[3] }, ' '))
redis.call('ZADD', KEYS[2], ms(now + tonumber(ARGV[3])), ARGV[1] .. '/' .. number)
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[2], 'XX', ms(now + tonumber(ARGV[6])), ARGV[5]) end
return 'ok'
