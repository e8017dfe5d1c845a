-- A record may belong to a history that its user no longer has: the user was erased, and the eraser has not reached the
-- record yet. Such a record is no duplicate: it is overwritten, and what was tried for its namesake is removed. Needs
-- of-history and scheduled-record.
--
-- Not: the record of a message that waits for its time, or ended before it had a number.
local function isOfOtherHistory(known, epoch)
  return not hasNoNumber(known) and not isOfHistory(string.match(known, '^%d+\t([^\t]*)'), epoch)
end

local function replaceNamesake(recordKey, value, ttlText)
  -- Declaring these keys would cost every message what almost none needs.
  local attemptsOfNamesake = string.gsub(recordKey, ':record:', ':attempts:', 1)
  local sendsOfNamesake = string.gsub(recordKey, ':record:', ':device-sends:', 1)
  -- Before the record: while a slot is being moved, an undeclared key may be refused. Had the record been written by
  -- then, it would tell the next attempt that the message is stored.
  redis.call('UNLINK', attemptsOfNamesake, sendsOfNamesake)
  redis.call('SET', recordKey, value, 'PX', ttlText)
end
