-- takeOne: takes one of what a limit allows in a window; the same ring and arithmetic as limits/take-from-window.lua.
-- key: a string, "used index:count …", oldest first, used being the sum; stored: what it holds. held: how many
-- sub-windows after its own a take counts. Needs server-time.
-- nil if it was taken; else how long until one may be, ms.
--
-- Of a ring with room only the two ends are read, however long it is.
local function takeOne(key, stored, limit, subMs, held)
  local current, keepMs = math.floor(now / subMs), ms((held + 1) * subMs)
  if not stored then
    redis.call('SET', key, '1 ' .. ms(current) .. ':1', 'PX', keepMs)
    return nil
  end
  local newest = tonumber(string.match(stored, '^.* (%d+):'))
  local back = newest - current
  if back > 0 then
    -- A clock that was set back: what was taken in the future was taken just now.
    stored = string.gsub(stored, ' (%d+):', function(index) return ' ' .. ms(index - back) .. ':' end)
    newest = current
  end
  local used, from = string.match(stored, '^(%d+) ()')
  used = tonumber(used)
  local index, count, following = string.match(stored, '^(%d+):(%d+) ?()', from)
  while index and tonumber(index) < current - held do
    used, from = used - count, following
    index, count, following = string.match(stored, '^(%d+):(%d+) ?()', from)
  end
  local ring = string.sub(stored, from)
  if used < limit then
    if ring == '' then
      ring = ms(current) .. ':1'
    elseif newest == current then
      local before, last = string.match(ring, '^(.*:)(%d+)$')
      ring = before .. ms(last + 1)
    else
      ring = ring .. ' ' .. ms(current) .. ':1'
    end
    redis.call('SET', key, ms(used + 1) .. ' ' .. ring, 'PX', keepMs)
    return nil
  end
  if back > 0 then redis.call('SET', key, ms(used) .. ' ' .. ring, 'PX', keepMs) end
  for leaving, itsCount in string.gmatch(ring, '(%d+):(%d+)') do
    used = used - itsCount
    if used < limit then return (leaving + held + 1) * subMs - now end
  end
end
