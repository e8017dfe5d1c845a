#!lua flags=allow-oom
-- cancel-message: ends a message that nobody has acknowledged, that no fallback channel has taken, and that none is
-- being asked to take; removes it from the inbox; and tells the nodes that hold its user.
--
-- The hash's `takenOut` is the highest number that was removed from the inbox, see includes/taken-out.
--
-- One step decides against an acknowledgement, an expiry, an offer, a worker (recall/begin-send.lua) and another
-- cancel. `due` is left alone: a wake removes the user if nothing is open any more. A user whose hash was lost or
-- erased has no cursor to move: then the record alone says how the message ended.
-- Allowed when Redis is out of memory: it frees more than it adds.
--
-- v2: the end is an event, in the same step, if `message.cancelled` is written.
--
-- KEYS[1] record · KEYS[2] user · KEYS[3] inbox · KEYS[4] routes · KEYS[5] sending · KEYS[6] device sends
-- KEYS[7] events · KEYS[8] event log · KEYS[9] generation
-- ARGV[1] userId   as the caller has read it in the record
-- ARGV[2] id
-- ARGV[3] channel  prefix of a node's channel name
-- ARGV[4] events   see includes/event-log
--
-- The hash's `recalls` has the newest of a user's recalled messages, oldest first, "seq id" joined by ",": `connect`
-- answers them to those who may have been sent one.
--
-- Result: "cancelled" by this call · "already" cancelled · "unknown" · "changed": the record is another user's, or has
-- another form; the caller reads it again · "over": it has expired, and its end is to be written first · "pushing": a
-- channel may have it at any moment · "delivered", "pushed", "failed" or "expired": nothing was changed

--@include server-time
--@include of-history
--@include end-keep
--@include live-nodes
--@include taken-out
--@include current-generation
--@include trace-of
--@include event-log
local RECALLS_KEPT = 32

local record = redis.call('GET', KEYS[1])
if not record then return 'unknown' end
local seqText, epoch, acceptedAt, expiresAt, userId, ending =
  string.match(record, '^(%d+)\t([^\t]*)\t(%d+)\t(%d+)\t([^\t]*)\t[^\t]*\t[^\t]*(.*)$')
if userId ~= ARGV[1] then return 'changed' end

local user = redis.call('HMGET', KEYS[2], 'seq', 'epoch', 'acked', 'ended', 'recalls', 'takenOut')
local seq, acked, messageSeq = tonumber(user[1]), tonumber(user[3]), tonumber(seqText)
local isTheirs = seq and acked and isOfHistory(user[2], epoch)
local state = string.match(ending, '^\t(%l+) ')
if state == 'cancelled' then return 'already' end
if state == 'expired' then return state end
-- "over" after an end: the message expired after it, and `acked` moved over it.
if state and string.match(ending, ' over$') then return state end
if isTheirs and messageSeq <= acked then return 'delivered' end
if state then return state end
if tonumber(expiresAt) <= now then return 'over' end
if redis.call('EXISTS', KEYS[5], KEYS[6]) > 0 then return 'pushing' end

local entryId = seqText .. '-0'
local entry = redis.call('XRANGE', KEYS[3], entryId, entryId)[1]
local isItsEntry = entry and string.match(entry[2][2], '^[^\t]*\t%d+\t%d+\t([^\t]*)') == ARGV[2]
-- A routes key of another kind fails here, before anything is written.
local nodes = liveNodes(KEYS[4], ms(now))
local events = ARGV[4] ~= '' and openEvents(ARGV[4], KEYS[7], KEYS[8], currentGeneration(KEYS[9])) or nil

redis.call('SET', KEYS[1], record .. '\tcancelled ' .. ms(now), 'KEEPTTL')
redis.call('PEXPIRE', KEYS[1], END_KEEP_MS, 'GT')
if events then
  events.write('c', userId, seqText, epoch, { ARGV[2], acceptedAt }, isItsEntry and traceOf(entry[2][2]) or '')
end
if isItsEntry then redis.call('XDEL', KEYS[3], entryId) end
if not isTheirs then return 'cancelled' end

local recalls = (user[5] and user[5] .. ',' or '') .. seqText .. ' ' .. ARGV[2]
local _, commas = string.gsub(recalls, ',', '')
if commas >= RECALLS_KEPT then recalls = string.match(recalls, '^[^,]*,(.*)$') end
local takenOut = math.max(messageSeq, tonumber(user[6]) or 0)
local changes = { 'recalls', recalls, 'takenOut', ms(takenOut) }
local over = overTakenOut(KEYS[3], acked, seq)
if over > acked then
  changes[5], changes[6], changes[7], changes[8] = 'acked', ms(over), 'ended', endedUpTo(user[4], acked, over)
end
redis.call('HSET', KEYS[2], unpack(changes))
local line = ARGV[1] .. '\t' .. seqText .. '\t' .. epoch .. '\t' .. ARGV[2]
for _, node in ipairs(nodes) do redis.call('SPUBLISH', ARGV[3] .. node, 'recalled\n' .. line) end
return 'cancelled'
