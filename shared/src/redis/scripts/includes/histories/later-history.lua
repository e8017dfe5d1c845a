-- Whether a message of this epoch came after its user was erased. It then belongs to the user's present history, see
-- erasure/erase-user.lua.
local function isOfLaterHistory(userKey, epoch)
  return isOfHistory(redis.call('HGET', userKey, 'epoch'), epoch)
end
