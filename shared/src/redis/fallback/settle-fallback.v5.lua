#!lua flags=allow-oom
-- settle-fallback: one step says what became of an attempt to reach a message's user by a fallback channel.
--
-- Only for an entry that is still pending. Several workers may have tried it, when its first one was taken for dead:
-- the first to settle it wins, and the others change nothing. No other fencing is needed: any process may do this for
-- any partition.
-- Allowed when Redis is out of memory: it frees or moves an entry, and what it adds is bounded. If it were refused,
-- the same message would be sent again and again.
--
-- v2: takes the message's number and epoch. A record of another history under the same id (its user was erased, and the
-- id was sent again) does not count, and the attempt is not recorded there. An entry whose user was erased goes nowhere
-- else: the eraser would miss it.
-- v3: what is noted is kept for a day and more beyond the message's expiry, however short its record's time to live
-- was.
-- v4: removes a message from the inbox that a newer one with its collapse key left alone while it was being sent
-- (includes/collapse-messages); a retry of such a message is not made, unless one of the user's devices has it. Takes
-- away the note that the message is being sent (recall/begin-send.lua): it can be recalled again, unless it
-- has ended. Another attempt's note stays.
-- v5: each channel has its own streams and retries; one that cannot reach the user passes the entry on to the next,
-- with what it failed for, so that the message fails for that if no later channel reaches the user either. What the
-- message becomes is an event, in the same step, if its type is written. One that was acknowledged before its push was
-- taken reads `delivered`, and gets none for the push. A message that had ended when a channel was to be asked
-- ("unneeded") may be noted too; its record lives no longer for it.
--
-- KEYS[1] fallback stream · KEYS[2] retries, of the same channel · KEYS[3] dead letters, of the cause in ARGV[4]
-- KEYS[4] record · KEYS[5] user · KEYS[6] attempts · KEYS[7] sending
-- KEYS[8] collapsed (hash: collapse key -> messages) · KEYS[9] inbox · KEYS[10] device sends
-- KEYS[11] of passed: the fallback stream that it goes to; else any of this partition's keys
-- KEYS[12] events · KEYS[13] event log · KEYS[14] generation
-- ARGV[1] group
-- ARGV[2] entryId
-- ARGV[3] outcome   "taken" | "dropped" | "unneeded" | "retry" | "passed" | "failed"
-- ARGV[4] word      of taken: the channel's name · of failed: the cause · else ""
-- ARGV[5] attempts  made by now, this one included
-- ARGV[6] delayMs   of retry: how long to wait; at most until the message's expiry, when it gets that end instead
-- ARGV[7] reason    of failed
-- ARGV[8] deadLettersCap
-- ARGV[9] attemptsKept
-- ARGV[10] seq · ARGV[11] epoch   of the message
-- ARGV[12] attempt  as recorded in KEYS[7]; "" if nothing was sent
-- ARGV[13] failure  of passed: what a channel failed for, see protocol/fallback-entry; "" for nothing
-- ARGV[14] events   see includes/event-log
-- then notes of what was tried: JSON objects, not empty, to which the script adds the time
--
-- Result: "collapsed" if it was removed from the inbox as such; "settled", or "settled" TAB how many of the oldest dead
-- letters were evicted; "ended" if the message failed after it had ended in another way (no dead letter); "gone" if the
-- entry is not pending any more: then only a channel's acceptance is recorded, so that no retry sends it again.

--@include server-time
--@include of-history
--@include end-keep
--@include taken-out
--@include current-generation
--@include trace-of
--@include event-log
local outcome, word, nowText = ARGV[3], ARGV[4], ms(now)
local seq, epoch = tonumber(ARGV[10]), ARGV[11]

local record, ending, keepMs = redis.call('GET', KEYS[4]), nil, END_KEEP_MS
if record then
  local recordSeq, recordEpoch, expiresAt, rest =
    string.match(record, '^(%d+)\t([^\t]*)\t%d+\t(%d+)\t[^\t]*\t[^\t]*\t[^\t]*(.*)$')
  if tonumber(recordSeq) == seq and isOfHistory(recordEpoch, epoch) then
    ending = rest
    keepMs = END_KEEP_MS + math.max(0, tonumber(expiresAt) - now)
  else
    record = nil
  end
end
local hasNoEnd = ending == ''

local user = redis.call('HMGET', KEYS[5], 'epoch', 'acked', 'seq', 'ended', 'takenOut')
local isTheirs = isOfHistory(user[1], epoch)

local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local text = ''
for f = 1, entry and #entry[2] or 0, 2 do
  if entry[2][f] == 'm' then text = entry[2][f + 1] end
end

-- Whether a newer message with its collapse key is in the inbox, and this one still is.
local function isSuperseded(collapsedKey)
  if not record or not isTheirs or seq <= tonumber(user[2]) then return false end
  if not hasNoEnd and not string.match(ending, '^\tpushed ') and not string.match(ending, '^\tfailed ') then return false end
  local notification = string.match(text, '^' .. string.rep('[^\t]*\t', 7) .. '([^\t]*)')
  -- See protocol/notification-text: the last member, as JSON writes printable ASCII.
  local key = string.match(notification or '', '^.*,"collapseKey":"(.*)"}$')
  if not key or string.find(string.gsub(key, '\\.', ''), '"', 1, true) then return false end
  local newest = string.match(redis.call('HGET', collapsedKey, (string.gsub(key, '\\(.)', '%1'))) or '', '(%d+) [^,]+$')
  return newest and tonumber(newest) > seq
end
local superseded = isSuperseded(KEYS[8])
if superseded and outcome == 'retry' and redis.call('EXISTS', KEYS[10]) == 1 then superseded = false end
-- Keys of another kind fail here, before anything is written.
redis.call('ZCARD', KEYS[2])
redis.call('XLEN', KEYS[3])
if outcome == 'passed' then redis.call('XLEN', KEYS[11]) end
local events = ARGV[14] ~= '' and openEvents(ARGV[14], KEYS[12], KEYS[13], currentGeneration(KEYS[14])) or nil
-- What the message of this record has become.
local function tell(recordKey, letter, what, why)
  if not events then return end
  local acceptedAt, userId = string.match(record, '^%d+\t[^\t]*\t(%d+)\t%d+\t([^\t]*)')
  events.write(letter, userId, ms(seq), epoch,
    { string.match(recordKey, '^[^}]*}:record:(.*)$'), acceptedAt, what, (string.gsub(why or '', '[\t\r\n]', ' ')) },
    traceOf(text))
end
local isNoted = ARGV[12] ~= '' and redis.call('GET', KEYS[7]) == ARGV[12]
local wasPending = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1
if isNoted then redis.call('DEL', KEYS[7]) end
if outcome == 'taken' and hasNoEnd then
  redis.call('SET', KEYS[4], record .. '\tpushed ' .. nowText .. ' ' .. word, 'KEEPTTL')
  redis.call('PEXPIRE', KEYS[4], ms(keepMs), 'GT')
  if not (isTheirs and seq <= (tonumber(user[2]) or 0)) then tell(KEYS[4], 'p', word) end
end
if not wasPending then return 'gone' end
redis.call('XDEL', KEYS[1], ARGV[2])

if record and #ARGV > 14 then
  if outcome ~= 'unneeded' then redis.call('PEXPIRE', KEYS[4], ms(keepMs), 'GT') end
  for i = 15, #ARGV do
    redis.pcall('RPUSH', KEYS[6], '{"at":' .. nowText .. ',' .. string.sub(ARGV[i], 2))
  end
  redis.pcall('LTRIM', KEYS[6], '-' .. ARGV[9], '-1')
  local ttl = redis.call('PTTL', KEYS[4])
  if ttl > 0 then redis.call('PEXPIRE', KEYS[6], ms(ttl)) end
end

if not entry or not isTheirs then return 'gone' end

-- With the end that it has, which an acknowledgement no longer changes; or, if it is queued, as collapsed.
local function leaveInbox(recordKey, userKey, inboxKey)
  local ended = redis.call('GET', recordKey)
  if ended == record and hasNoEnd then
    redis.call('SET', recordKey, ended .. '\texpired ' .. nowText .. ' PETREL_COLLAPSED', 'KEEPTTL')
    tell(recordKey, 'x', 'PETREL_COLLAPSED')
  elseif not string.match(ended, ' over$') then
    redis.call('SET', recordKey, ended .. ' over', 'KEEPTTL')
  end
  redis.call('PEXPIRE', recordKey, ms(END_KEEP_MS), 'GT')
  redis.call('XDEL', inboxKey, ms(seq) .. '-0')
  local acked = tonumber(user[2])
  local over = overTakenOut(inboxKey, acked, tonumber(user[3]))
  local changes = { 'takenOut', ms(math.max(seq, tonumber(user[5]) or 0)) }
  if over > acked then
    changes[3], changes[4], changes[5], changes[6] = 'acked', ms(over), 'ended', endedUpTo(user[4], acked, over)
  end
  redis.call('HSET', userKey, unpack(changes))
end

if superseded and outcome ~= 'failed' then
  leaveInbox(KEYS[4], KEYS[5], KEYS[9])
  return hasNoEnd and outcome ~= 'taken' and 'collapsed' or 'settled'
end
if outcome == 'passed' then
  -- userId … notification, then trace and failure; attempts are counted for each channel.
  local base = string.match(text, '^' .. string.rep('[^\t]*\t', 7) .. '[^\t]*')
  local trace = base and string.match(string.sub(text, #base + 1), '^\t([^\t]*)') or ''
  local tail = ARGV[13] ~= '' and '\t' .. trace .. '\t' .. ARGV[13] or trace ~= '' and '\t' .. trace or ''
  redis.call('XADD', KEYS[11], '*', 'm', base and base .. tail or text, 'n', '0')
elseif outcome == 'retry' then
  local at = now + tonumber(ARGV[6])
  local expiresAt = tonumber(string.match(text, '^[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t(%d+)'))
  if expiresAt and expiresAt < at then at = expiresAt end
  redis.call('ZADD', KEYS[2], ms(at), ARGV[5] .. '\t' .. text)
elseif outcome == 'failed' then
  if not hasNoEnd or seq <= (tonumber(user[2]) or 0) then return 'ended' end
  redis.call('SET', KEYS[4], record .. '\tfailed ' .. nowText .. ' ' .. word, 'KEEPTTL')
  redis.call('PEXPIRE', KEYS[4], ms(keepMs), 'GT')
  tell(KEYS[4], 'f', word, ARGV[7])
  redis.call('XADD', KEYS[3], '*', 'm', text, 'n', ARGV[5], 'r', ARGV[7])
  if superseded then leaveInbox(KEYS[4], KEYS[5], KEYS[9]) end
  local excess = redis.call('XLEN', KEYS[3]) - tonumber(ARGV[8])
  if excess > 0 then
    redis.call('XTRIM', KEYS[3], 'MAXLEN', ARGV[8])
    return 'settled\t' .. ms(excess)
  end
end
return 'settled'
