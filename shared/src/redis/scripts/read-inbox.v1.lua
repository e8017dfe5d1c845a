-- read-inbox: one page of a user's stored messages, bounded by number and by size.
--
-- KEYS[1] inbox
-- ARGV[1] after      the page begins above this seq
-- ARGV[2] maxEntries
-- ARGV[3] maxBytes   the page ends with the entry that passes this
--
-- Result: seq, value, seq, value, …; empty where there is nothing after

local page, bytes = {}, 0
local from = '(' .. ARGV[1] .. '-0'
local left, maxBytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while left > 0 and bytes < maxBytes do
  -- In steps, so that a page of large messages does not copy all of them only to drop most.
  local step = math.min(left, 16)
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    page[#page + 1] = string.match(entry[1], '^%d+')
    page[#page + 1] = entry[2][2]
    bytes = bytes + #entry[2][2]
    from = '(' .. entry[1]
    if bytes >= maxBytes then break end
  end
  if #entries < step then break end
  left = left - step
end
return page
