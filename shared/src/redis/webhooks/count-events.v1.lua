-- count-events: how many events a partition has after a position, up to a bound.
--
-- KEYS[1] events  stream
-- ARGV[1] after  an entry's id
-- ARGV[2] max
--
-- Result: the number, as text

local max, after, count = tonumber(ARGV[2]), ARGV[1], 0
while count < max do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', math.min(100, max - count))
  if #entries == 0 then break end
  count, after = count + #entries, entries[#entries][1]
end
return tostring(count)
