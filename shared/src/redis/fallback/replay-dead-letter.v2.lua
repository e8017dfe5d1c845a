#!lua
-- replay-dead-letter: retries a message whose fallback failed, as if it had never been tried.
--
-- v2: a record of another message under the same id (its user was erased, and the id was sent again) does not count.
--
-- One step: the message is either in the dead letters or in its fallback stream, and its record says failed exactly
-- while it is in the dead letters. Refused as a whole when memory is full: nothing is urgent here.
--
-- KEYS[1] dead letters of one cause · KEYS[2] record · KEYS[3] user · KEYS[4] fallback stream of its priority
-- ARGV[1] entryId
-- ARGV[2] text      the entry as the caller has read it
--
-- Result: "replayed"; "unknown" if there is no such dead letter (any more); else what became of the message, and
-- nothing was changed: "forgotten" (its record is gone) "delivered" "expired" "cancelled" "pushed" "queued"

--@include server-time
--@include of-history
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry or entry[2][2] ~= ARGV[2] then return 'unknown' end
local record = redis.call('GET', KEYS[2])
if not record then return 'forgotten' end
local letterSeq, letterEpoch = string.match(ARGV[2], '^[^\t]*\t(%d+)\t([^\t]*)')

local base, seq, epoch, expiresAt, ending
base, ending = string.match(record, '^([^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*)(.*)$')
seq, epoch, expiresAt = string.match(record, '^(%d+)\t([^\t]*)\t%d+\t(%d+)\t')
if seq ~= letterSeq or not isOfHistory(epoch, letterEpoch) then return 'forgotten' end
local state = string.match(ending, '^\t(%l+) ') or 'queued'
if state == 'expired' or state == 'cancelled' then return state end

local user = redis.call('HMGET', KEYS[3], 'epoch', 'acked')
if not isOfHistory(user[1], epoch) then return 'forgotten' end
local isAcked = tonumber(seq) <= (tonumber(user[2]) or 0)
-- "over" after an end: the message expired after it, and `acked` moved over it.
if tonumber(expiresAt) <= now or string.match(ending, ' over$') then return 'expired' end
if isAcked then return 'delivered' end
if state ~= 'failed' then return state end

redis.call('SET', KEYS[2], base, 'KEEPTTL')
redis.call('XADD', KEYS[4], '*', 'm', ARGV[2], 'n', '0')
redis.call('XDEL', KEYS[1], ARGV[1])
return 'replayed'
