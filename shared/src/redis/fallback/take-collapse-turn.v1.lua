#!lua flags=allow-oom
-- take-collapse-turn: of a user's notifications with one collapse key one is sent at a time, and none after a newer one.
--
-- The newest number that ever began is kept, so that an older one which comes late (a retry, a slower worker) is told to
-- stay away: it would overwrite the newer on the phone. While one is being sent the others wait; its lease ends by
-- itself, for a sender that has died. One that waits already keeps the older ones away.
-- Allowed where Redis is out of memory: one small string with an end, and what is refused would be sent out of order.
--
-- KEYS[1] turn     lineage TAB seq TAB holder TAB until
-- ARGV[1] action   "begin" | "end"
-- ARGV[2] lineage  of the message's epoch: numbers of another one cannot be compared
-- ARGV[3] seq
-- ARGV[4] holder   names this send, and no other
-- ARGV[5] leaseMs
-- ARGV[6] keepUntilMs   the message's expiry: afterwards nothing of it is sent
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

-- One that lies further ahead than a turn is long was given by a clock that has been set back since.
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
