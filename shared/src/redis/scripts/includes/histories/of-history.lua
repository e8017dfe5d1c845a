-- Whether two epochs belong to one history of their user, see accept/accept.lua. Numbers of different histories cannot
-- be compared: a number from outside always comes with its epoch, and this is asked first. A record too belongs to a
-- message only if their epochs match: an id that is sent again after its user was erased names another message.
local function isOfHistory(epoch, other)
  return epoch and other and string.match(epoch, '^[^.]*') == string.match(other, '^[^.]*')
end
