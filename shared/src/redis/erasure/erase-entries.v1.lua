#!lua flags=allow-oom
-- erase-entries: removes an erased user's entries from a stream, a part with each call.
--
-- What came after the erasure stays. A worker that holds an erased entry finds it settled.
--
-- KEYS[1] stream: ready, fallback, dead letters (their texts begin userId TAB seq TAB epoch TAB), or invalidations
-- KEYS[2] user
-- ARGV[1] userId
-- ARGV[2] after   the id after which to continue; "0-0" to begin
-- ARGV[3] group   the group of workers that may hold entries; "" for none
--
-- Result: erased TAB the id after which to go on, or "" at the end

--@include of-history
--@include later-history
local bytesLeft, left, erased, after = 262144, 200, 0, ARGV[2]

local function isTheirs(fields)
  for f = 1, #fields, 2 do
    bytesLeft = bytesLeft - #fields[f + 1]
    if fields[f] == 'm' then
      local userId, epoch = string.match(fields[f + 1], '^([^\t]*)\t[^\t]*\t([^\t]*)')
      return userId == ARGV[1] and not isOfLaterHistory(KEYS[2], epoch)
    end
    if fields[f] == 'u' then return fields[f + 1] == ARGV[1] end
  end
  return false
end

while left > 0 and bytesLeft > 0 do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 4)
  if #entries == 0 then return erased .. '\t' end
  for _, entry in ipairs(entries) do
    after, left = entry[1], left - 1
    if isTheirs(entry[2]) then
      if ARGV[3] ~= '' then redis.call('XACK', KEYS[1], ARGV[3], after) end
      redis.call('XDEL', KEYS[1], after)
      erased = erased + 1
    end
  end
end
return erased .. '\t' .. after
