#!lua flags=allow-oom
-- erase-records: of these messages' records, erases those of one user, with what was tried for them.
--
-- What came after the erasing stays.
--
-- KEYS[1] user, then three for each message: record · attempts · device sends
-- ARGV[1] userId
--
-- Result: how many were erased

--@include later-history
local erased = 0
for k = 2, #KEYS, 3 do
  -- One that is no string is nobody's record.
  local record = redis.pcall('GET', KEYS[k])
  local epoch, userId = string.match(type(record) == 'string' and record or '',
    '^%d+\t([^\t]*)\t%d+\t%d+\t([^\t]*)')
  if userId == ARGV[1] and not isOfLaterHistory(KEYS[1], epoch) then
    redis.call('UNLINK', KEYS[k], KEYS[k + 1], KEYS[k + 2])
    erased = erased + 1
  end
end
return tostring(erased)
