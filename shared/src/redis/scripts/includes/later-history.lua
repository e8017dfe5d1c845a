-- Whether a message of this epoch came after its user was erased: then it belongs to the history that the user has now,
-- see scripts/erase-user.
local function isOfLaterHistory(userKey, epoch)
  local now = redis.call('HGET', userKey, 'epoch')
  return now and string.match(now, '^[^.]*') == string.match(epoch, '^[^.]*')
end
