-- Whether two epochs are of one history of their user, see accept/accept.lua. Numbers of two histories say nothing of one
-- another: whoever takes a number from outside takes its epoch with it, and asks this first. A record is its message's
-- only where its epoch is, too: an id that is sent again after its user was erased names another message.
local function isOfHistory(epoch, other)
  return epoch and other and string.match(epoch, '^[^.]*') == string.match(other, '^[^.]*')
end
