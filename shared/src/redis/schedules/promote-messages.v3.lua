#!lua
-- promote-messages: accepts users' messages that are due, in the order of the call.
--
-- One step takes a message out of `scheduled` and stores it, by the text that accept runs; so it is in one place at any
-- time, whoever calls this, and however often. Never before its time by Redis' clock. One whose TTL is over
-- ends `expired`; one whose inbox is full ends `failed`, and becomes a dead letter; one that its user's limit refuses,
-- or a full fallback stream, waits a little longer. A schedule whose record is gone is removed.
-- When memory is full the whole call is refused. (That is what the first line does.)
--
-- v2: each end is an event, in the same step, if its type is written.
-- v3: accept's arguments are those of its v6.
--
-- KEYS[1] owner · KEYS[2] scheduled · KEYS[3] dead letters of the cause inbox-full
-- KEYS[4..9] generation · due · ready · fallback streams: high, normal, low   as accept's KEYS[1..6]
-- KEYS[10] events · KEYS[11] event log
-- then six for each message:
--   user (hash) · inbox (stream) · routes (sorted set) · record (string)   as accept's · schedules of its user ·
--   collapsed (hash), as accept-collapsing's
-- ARGV[1] token
-- ARGV[2..13] as accept's ARGV[1..12]
-- ARGV[14] deadLettersCap
-- ARGV[15] events  see includes/event-log
-- then members of `scheduled`
--
-- Refuses before its first write if the token is not the owner's, or the lease is over.
--
-- Result: "stale" · "busy" (ready is full: nothing was changed) · else lines. First the length of `ready`, then one for
-- each member:
--   "+" latenessMs   stored
--   "x" · "f"        expired · failed; behind each of these three [TAB collapsed [TAB trace SPACE span]]: how many older
--                    messages ended by it, if one has a collapse key; its trace, if it is sampled, and the name
--                    of its promotion's span
--   "~" · "?"        put off: its user's limit · a full fallback stream
--   "-"              its record is gone, or says that it does not wait
--   "."              nothing was changed: it is not due, or the call was long enough

--@include server-time
--@include refuse-stale
if isStale(KEYS[1], ARGV[1], now) then return 'stale' end

--@include current-generation
--@include missing-user
--@include of-history
--@include live-nodes
--@include received-lately
--@include trace-of
--@include end-keep
--@include scheduled-record
--@include namesake
--@include due-schedules
--@include taken-out
--@include collapse-messages
--@include event-log
local FALLBACK_WAIT_MS = 5000

local scheduled, deadLetters = KEYS[2], KEYS[3]
local ready = KEYS[6]
local callKeys, callArgs = KEYS, ARGV
local members, records, schedulesOf = { unpack(ARGV, 16) }, {}, {}
for i = 1, #members do records[i], schedulesOf[i] = KEYS[9 + 6 * i], KEYS[10 + 6 * i] end
local found = readDue(scheduled, records, members)

-- What accept gets, and which message of this call each of its messages is.
local acceptKeys, acceptArgs, promoted, places = { unpack(KEYS, 4, 9) }, { unpack(ARGV, 2, 13) }, {}, {}
local withKey, hasKey = {}, false
-- Keys of another kind fail here, before anything is written: accept overwrites the record before it would fail.
local function isOfKind(key, kind)
  local there = redis.call('TYPE', key).ok
  return there == kind or there == 'none'
end
for i = 1, #members do
  local one = found[i]
  if one and one.ttl > 0 then
    local k = 11 + 6 * (i - 1)
    if not isOfKind(KEYS[k + 1], 'hash') or not isOfKind(KEYS[k + 2], 'stream') or not isOfKind(KEYS[k + 3], 'zset') then
      return redis.error_reply('WRONGTYPE a key of the user of ' .. one.id)
    end
    for f = 1, 4 do acceptKeys[#acceptKeys + 1] = KEYS[k + f] end
    local identity = string.match(one.head, '^0\t@\t%d+\t%d+\t[^\t]*\t(.*)$')
    -- If it has a collapse key, that follows its policy.
    local policy, key, rest = string.match(one.payload, '^(%a%a):?([^\t]*)(\t.*)$')
    local letter, notification = string.match(policy .. rest, '^a(%a)\t([^\t]*)')
    local always = letter and notification ~= '' and letter or ''
    for _, text in ipairs({ one.id .. '\t' .. policy .. rest, ms(one.ttl), identity, always }) do
      acceptArgs[#acceptArgs + 1] = text
    end
    promoted[#promoted + 1], places[#places + 1] = one, i
    if key ~= '' then
      withKey[#promoted] = { collapsed = KEYS[k + 6], key = key, record = KEYS[k + 4], id = one.id }
      hasKey = true
    end
  end
end

local events = ARGV[15] ~= '' and openEvents(ARGV[15], KEYS[10], KEYS[11], currentGeneration(KEYS[4])) or nil
local collapsing = hasKey and makeCollapsing(withKey, tonumber(ARGV[8]) + 86400000, events) or nil
local KEYS, ARGV = acceptKeys, acceptArgs
--@include accept-messages

KEYS, ARGV = callKeys, callArgs
local outcomes = {}
for i = 1, #members do outcomes[i] = found[i] == nil and '.' or found[i] == false and '-' or 'x' end
for n, i in ipairs(places) do
  local sign, one = string.sub(lines[n + 1], 1, 1), promoted[n]
  outcomes[i] = sign
  if sign == '+' then
    local collapsed = string.match(lines[n + 1], '^%+%d+\t[^\t]*\t(%d+)$')
    outcomes[i] = '+' .. ms(now - one.deliverAt) .. tailOf(one, collapsed)
  end
  if sign == '!' then outcomes[i] = 'f' end
  if sign == '~' or sign == '?' then
    local waitMs = sign == '?' and FALLBACK_WAIT_MS or tonumber(string.sub(lines[n + 1], 2))
    redis.call('ZADD', scheduled, 'XX', ms(now + math.max(1, waitMs)), one.member)
  end
end
for i, outcome in ipairs(outcomes) do
  local one = found[i]
  local sign = string.sub(outcome, 1, 1)
  if string.find('-+xf', sign, 1, true) then takeScheduled(scheduled, schedulesOf[i], members[i]) end
  if sign == 'x' or sign == 'f' then outcomes[i] = sign .. tailOf(one) end
  if sign == 'x' then
    endScheduled(records[i], one.head, 'expired ' .. ms(now))
    if events then events.write('x', one.recipient, '0', '@', { one.id, one.acceptedAt }, traceOf(one.payload)) end
  elseif sign == 'f' then
    endScheduled(records[i], one.head, 'failed ' .. ms(now) .. ' inbox-full\t' .. one.payload, one.ttl)
    local policy, notification = string.match(one.payload, '^(%a%a)[^\t]*\t([^\t]*)')
    local text = table.concat({ one.recipient, '0', '@', one.acceptedAt, ms(one.expiresAt), one.id, policy,
      notification }, '\t')
    redis.call('XADD', deadLetters, '*', 'm', text .. traceOf(one.payload), 'n', '0', 'r', 'The inbox was full.')
    redis.call('XTRIM', deadLetters, 'MAXLEN', ARGV[14])
    if events then
      events.write('f', one.recipient, '0', '@', { one.id, one.acceptedAt, 'inbox-full', 'The inbox was full.' },
        traceOf(one.payload))
    end
  end
end
return redis.call('XLEN', ready) .. '\n' .. table.concat(outcomes, '\n')
