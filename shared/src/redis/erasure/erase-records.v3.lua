#!lua flags=allow-oom
-- erase-records: of these messages' records, erases those of one user, with what was tried for them. Also erases the
-- user's collapse turns of an earlier history.
--
-- What came after the erasure stays.
--
-- v2: removes the collapse turns too.
-- v3: leaves a message that waits for its time: the user's schedules went first, so this one came later.
--
-- KEYS[1] user, then three for each message: record · attempts · device sends; then collapse turns
-- ARGV[1] userId · ARGV[2] messages  how many
--
-- Result: how many were erased

--@include server-time
--@include end-keep
--@include of-history
--@include later-history
--@include scheduled-record
local erased = 0
local turns = 2 + 3 * tonumber(ARGV[2])
for k = 2, turns - 1, 3 do
  -- A key that is not a string is nobody's record.
  local record = redis.pcall('GET', KEYS[k])
  local epoch, userId = string.match(type(record) == 'string' and record or '',
    '^%d+\t([^\t]*)\t%d+\t%d+\t([^\t]*)')
  local isWaiting = userId == ARGV[1] and readScheduled(record)
  if userId == ARGV[1] and not isWaiting and not isOfLaterHistory(KEYS[1], epoch) then
    redis.call('UNLINK', KEYS[k], KEYS[k + 1], KEYS[k + 2])
    erased = erased + 1
  end
end
for k = turns, #KEYS do
  -- lineage TAB …, see fallback/take-collapse-turn.lua
  local turn = redis.pcall('GET', KEYS[k])
  local lineage = string.match(type(turn) == 'string' and turn or '', '^[^\t]*')
  if not isOfLaterHistory(KEYS[1], lineage) then redis.call('UNLINK', KEYS[k]) end
end
return tostring(erased)
