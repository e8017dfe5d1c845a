#!lua flags=allow-oom
-- invalidate-devices: forgets or quarantines devices, unless they were registered again, and records what it did.
--
-- Comparing and removing are one step: an earlier registration keeps the device, and a later one puts it back. Allowed
-- when Redis is out of memory: it frees memory, and what it records is bounded.
--
-- v2: a device that is forgotten or quarantined is an event, in the same step, if `device.invalidated` is written.
--
-- KEYS[1] invalidations · KEYS[2] events · KEYS[3] event log · KEYS[4] generation
-- KEYS[i + 4] devices of the i-th verdict's user
-- ARGV[1] cap  notes kept; beyond it the oldest go
-- ARGV[2] events  see includes/event-log
-- then ten for each:
--   what               "forget" | "quarantine" | "sweep"
--   deviceId
--   beforeMs           only if it was registered (of a sweep: last seen) before this
--   quarantinedUntilMs of a quarantine; else 0
--   userId, tokenEnd, reason, providerTimestampMs ("" for none), topic, environment ("" for none): for the note
--
-- Result: lines, one for each: outcome TAB claim
--   "forgotten"    it is gone; claim is its registration's
--   "quarantined"  it stays, and nothing is sent to it until then
--   "kept"         it was registered again meanwhile (of a sweep: was seen; that is not noted)
--   "gone"         it was not there (any more); that is not recorded

--@include server-time
--@include current-generation
--@include event-log
local FIELDS = 10
local lines = {}
-- A key of another kind fails here, instead of in the middle.
redis.call('XLEN', KEYS[1])
local events = ARGV[2] ~= '' and openEvents(ARGV[2], KEYS[2], KEYS[3], currentGeneration(KEYS[4])) or nil
for i = 1, #KEYS - 4 do
  local at = 2 + (i - 1) * FIELDS
  local what, deviceId, before = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  -- A user with a key that is not a hash affects nobody else.
  local entry = redis.pcall('HGET', KEYS[i + 4], deviceId)
  local registeredAt, lastSeen, _, claim, rest =
    string.match(type(entry) == 'string' and entry or '', '^(%d+)\t(%d+)\t(%d+)\t([^\t]*)\t(.*)$')
  local outcome = 'gone'
  if registeredAt then
    if tonumber(what == 'sweep' and lastSeen or registeredAt) >= before then
      outcome = 'kept'
    elseif what == 'quarantine' then
      outcome = 'quarantined'
      redis.call('HSET', KEYS[i + 4], deviceId,
        registeredAt .. '\t' .. lastSeen .. '\t' .. ARGV[at + 4] .. '\t' .. claim .. '\t' .. rest)
    else
      outcome = 'forgotten'
      redis.call('HDEL', KEYS[i + 4], deviceId)
    end
  end
  if outcome ~= 'gone' and not (what == 'sweep' and outcome == 'kept') then
    redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', 'w', outcome, 'u', ARGV[at + 5], 'd', deviceId,
      'e', ARGV[at + 6], 'r', ARGV[at + 7], 'p', ARGV[at + 8], 't', ARGV[at + 9], 'v', ARGV[at + 10],
      'g', registeredAt)
  end
  if events and (outcome == 'forgotten' or outcome == 'quarantined') then
    events.write('i', ARGV[at + 5], '', '', { deviceId, string.match(rest, '^[^\t]*'), ARGV[at + 7], outcome }, '')
  end
  lines[i] = outcome .. '\t' .. (claim or '')
end
return table.concat(lines, '\n')
