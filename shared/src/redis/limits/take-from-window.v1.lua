-- take-from-window: takes from a limit's allowance in a window, counted in a ring of sub-windows.
--
-- The oldest sub-window counts completely as long as a part of it may be in the window. So the limit is never exceeded
-- in any window, and what was taken early in a sub-window comes free up to one sub-window late. kernel/window-ring has
-- the same arithmetic.
--
-- When the clock was set back, entries in the future all move back by the same amount, to the present: so nobody waits
-- longer than for what was taken just now. (This is written even if nothing is granted, or it would move at each
-- call.)
--
-- KEYS[1] window      string, in a slot of its own: this is the only key; "index:count …", oldest first, those that are used
-- ARGV[1] subMs       a sub-window's length
-- ARGV[2] held        how many sub-windows after its own a take counts
-- ARGV[3] limit
-- ARGV[4] reported    what was taken without asking: counted, whatever the limit
-- ARGV[5] extra       how much more to take for later, as far as the limit allows, if nothing was refused
-- ARGV[6..] takes     each granted completely or not at all, in order
--
-- Result: lines
--   the takes' answers, "+" or "-" each · extra taken · how much is used then · what is left of this sub-window, ms
--   "index:count …" as stored then, each index as the number of sub-windows before the present one

--@include server-time

local subMs, held, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local current = math.floor(now / subMs)

local indexes, counts, used = {}, {}, 0
local stored = redis.call('GET', KEYS[1])
local isMoved = false
if stored then
  local newest = tonumber(string.match(stored, '(%d+):%d+$'))
  local back = newest > current and newest - current or 0
  isMoved = back > 0
  for index, count in string.gmatch(stored, '(%d+):(%d+)') do
    index = tonumber(index) - back
    if index >= current - held then
      count = tonumber(count)
      indexes[#indexes + 1], counts[#counts + 1] = index, count
      used = used + count
    end
  end
end

local taken = tonumber(ARGV[4])
local answers, isRefused = {}, false
for a = 6, #ARGV do
  local count = tonumber(ARGV[a])
  if used + taken + count <= limit then
    taken = taken + count
    answers[#answers + 1] = '+'
  else
    answers[#answers + 1] = '-'
    isRefused = true
  end
end
local extra = 0
if not isRefused then
  extra = math.max(0, math.min(tonumber(ARGV[5]), limit - used - taken))
  taken = taken + extra
end

if taken > 0 then
  used = used + taken
  if indexes[#indexes] == current then
    counts[#counts] = counts[#counts] + taken
  else
    indexes[#indexes + 1], counts[#counts + 1] = current, taken
  end
end
local kept, ages = {}, {}
for i, index in ipairs(indexes) do
  local count = ms(counts[i])
  kept[i] = ms(index) .. ':' .. count
  ages[i] = ms(current - index) .. ':' .. count
end
if #kept > 0 and (taken > 0 or isMoved) then
  redis.call('SET', KEYS[1], table.concat(kept, ' '), 'PX', ms((held + 1) * subMs))
end

return table.concat(answers) .. ' ' .. ms(extra) .. ' ' .. ms(used) .. ' ' .. ms((current + 1) * subMs - now)
  .. '\n' .. table.concat(ages, ' ')
