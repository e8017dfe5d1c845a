#!lua flags=allow-oom
-- take-collapse-turn: sends a user's notifications with one collapse key one at a time, and none after a newer one.
--
-- The newest number that ever began is kept. An older one that comes late (a retry, a slower worker) must not be sent:
-- it would overwrite the newer one on the phone. While one is being sent the others wait; its lease expires by itself
-- if its sender has died. A newer one that waits already stops the older ones.
-- Allowed when Redis is out of memory: it is one small string with an end, and a refused one would be sent out of
-- order.
--
-- KEYS[1] turn     lineage TAB seq TAB holder TAB until
-- ARGV[1] action   "begin" | "end"
-- ARGV[2] lineage  of the message's epoch: numbers of another one cannot be compared
-- ARGV[3] seq
-- ARGV[4] holder   identifies this send, and no other
-- ARGV[5] leaseMs
-- ARGV[6] keepUntilMs   the message's expiry: nothing of it is sent afterwards
--
-- Result: of begin "go", "superseded", or "busy" TAB for how many ms at most; of end "ended"

--@include server-time
local lineage, seq, holder = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local keptLineage, keptSeq, keptHolder, keptUntil = '', 0, '', 0
local value = redis.call('GET', KEYS[1])
if value then
  local a, b, c, d = string.match(value, '^([^\t]*)\t(%d+)\t([^\t]*)\t(%d+)$')
  if a then keptLineage, keptSeq, keptHolder, keptUntil = a, tonumber(b), c, tonumber(d) end
end

-- A turn that ends further ahead than its length was given by a clock that was since set back.
keptUntil = math.min(keptUntil, now + tonumber(ARGV[5]))

local function keep(newLineage, newSeq, newHolder, newUntil)
  local endsAt = math.max(tonumber(ARGV[6]), redis.call('PEXPIRETIME', KEYS[1]), now + tonumber(ARGV[5]))
  redis.call('SET', KEYS[1], table.concat({ newLineage, ms(newSeq), newHolder, ms(newUntil) }, '\t'), 'PXAT', ms(endsAt))
end

if ARGV[1] == 'end' then
  if keptHolder == holder then keep(keptLineage, keptSeq, '', 0) end
  return 'ended'
end

if keptLineage == lineage and keptSeq > seq then return 'superseded' end
if keptHolder ~= '' and keptHolder ~= holder and keptUntil > now then
  keep(lineage, seq, keptHolder, keptUntil)
  return 'busy\t' .. ms(keptUntil - now)
end
keep(lineage, seq, holder, now + tonumber(ARGV[5]))
return 'go'
