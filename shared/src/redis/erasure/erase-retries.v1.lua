#!lua flags=allow-oom
-- erase-retries: removes an erased user's entries from the retries, a part with each call.
--
-- What came after the erasure stays. All calls together find each entry that is there all the time
-- (https://redis.io/docs/latest/commands/scan/#scan-guarantees).
--
-- KEYS[1] retries, members attempts TAB userId TAB seq TAB epoch TAB … · KEYS[2] user
-- ARGV[1] userId
-- ARGV[2] cursor  "0" to begin
--
-- Result: erased TAB the cursor to go on with, or "" at the end

--@include of-history
--@include later-history
local step, erased = redis.call('ZSCAN', KEYS[1], ARGV[2], 'COUNT', 100), 0
for i = 1, #step[2], 2 do
  local userId, epoch = string.match(step[2][i], '^%d+\t([^\t]*)\t[^\t]*\t([^\t]*)')
  if userId == ARGV[1] and not isOfLaterHistory(KEYS[2], epoch) then
    erased = erased + redis.call('ZREM', KEYS[1], step[2][i])
  end
end
return erased .. '\t' .. (step[1] == '0' and '' or step[1])
