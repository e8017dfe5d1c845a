-- Since when no node has listened for a user, or nil. An old note proves nothing: a user who acknowledges
-- everything before the second look is not checked again, and the note stays.
local function stillUnheard(noted, confirmMs, ackedAt)
  local at = tonumber(noted)
  if at and at <= now and at > (tonumber(ackedAt) or 0) and now - at <= confirmMs + 60000 then return at end
  return nil
end
