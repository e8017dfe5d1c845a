-- Since when no node has listened for a user, or nil. An old note says nothing of now: a user who acknowledges
-- everything before the second look is not looked at again, and the note stays.
local function stillUnheard(noted, confirmMs, ackedAt)
  local at = tonumber(noted)
  if at and at <= now and at > (tonumber(ackedAt) or 0) and now - at <= confirmMs + 60000 then return at end
  return nil
end
