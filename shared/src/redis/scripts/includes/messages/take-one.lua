-- takeOne: takes one of what a limit allows in a window; the same ring and arithmetic as limits/take-from-window.lua.
-- key: a string, "index:count …", oldest first; stored: what it holds. held: how many sub-windows after its own a take
-- counts. Needs server-time.
-- nil if it was taken; else how long until one may be, ms.
local function takeOne(key, stored, limit, subMs, held)
  local current = math.floor(now / subMs)
  local keepMs = ms((held + 1) * subMs)
  if not stored then
    redis.call('SET', key, ms(current) .. ':1', 'PX', keepMs)
    return nil
  end
  -- A clock that was set back: what was taken in the future was taken just now.
  local newest = tonumber(string.match(stored, '(%d+):%d+$'))
  local back = newest > current and newest - current or 0
  local first, used = nil, 0
  for at, index, count in string.gmatch(stored, '()(%d+):(%d+)') do
    if index - back >= current - held then
      first = first or at
      used = used + count
    end
  end
  -- As always, but for a limit that is reached: only the text's two ends change.
  if used < limit and back == 0 then
    local kept = first and string.sub(stored, first) or ''
    if newest == current then
      local before, count = string.match(kept, '^(.*:)(%d+)$')
      kept = before .. ms(count + 1)
    else
      kept = (kept == '' and '' or kept .. ' ') .. ms(current) .. ':1'
    end
    redis.call('SET', key, kept, 'PX', keepMs)
    return nil
  end
  local indexes, counts = {}, {}
  for index, count in string.gmatch(stored, '(%d+):(%d+)') do
    index, count = tonumber(index) - back, tonumber(count)
    if index >= current - held then indexes[#indexes + 1], counts[#counts + 1] = index, count end
  end
  local isTaken = used < limit
  if isTaken then
    if indexes[#indexes] == current then
      counts[#counts] = counts[#counts] + 1
    else
      indexes[#indexes + 1], counts[#counts + 1] = current, 1
    end
  end
  if isTaken or back > 0 then
    local kept = {}
    for i, index in ipairs(indexes) do kept[i] = ms(index) .. ':' .. ms(counts[i]) end
    redis.call('SET', key, table.concat(kept, ' '), 'PX', keepMs)
  end
  if isTaken then return nil end
  local i = 1
  while i < #indexes and used - counts[i] >= limit do
    used = used - counts[i]
    i = i + 1
  end
  return (indexes[i] + held + 1) * subMs - now
end
