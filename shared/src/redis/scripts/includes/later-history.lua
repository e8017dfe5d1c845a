-- Whether a message of this epoch came after its user was erased: then it belongs to the history that the user has now,
-- see erasure/erase-user.lua.
local function isOfLaterHistory(userKey, epoch)
  return isOfHistory(redis.call('HGET', userKey, 'epoch'), epoch)
end
