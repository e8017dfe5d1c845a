#!lua flags=allow-oom
-- read-inbox: one page of a user's stored messages, bounded by number and by size; says whether something that its
-- reader has not had was trimmed before it.
--
-- Allowed when Redis is out of memory: it adds a few bytes to a hash, and a reader acknowledges, which frees memory.
--
-- v2: says what was trimmed, and the time by which the reader decides what has expired; records a reader that is
-- behind.
--
-- KEYS[1] inbox · KEYS[2] user
-- ARGV[1] after      the page begins above this seq
-- ARGV[2] maxEntries
-- ARGV[3] maxBytes   the page ends with the entry that passes this
-- ARGV[4] reader     the connection that reads: while it has more than a page to read, what it lacks is kept for it; ""
--                    for one that only looks
-- ARGV[5] epoch      of the reader: its numbers say nothing in another one
--
-- Result: now (ms), then "1" if something between `after` and the page was acknowledged and trimmed, else "0", then
-- "1" if the reader was recorded as behind, else "0"; then seq, value, seq, value, …

--@include server-time
--@include kept-after
--@include slow-readers
local page, bytes = { ms(now), '0', '0' }, 0
local from, isCut = '(' .. ARGV[1] .. '-0', false
local left, maxBytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while left > 0 do
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
  left = left - step
  isCut = bytes >= maxBytes or left <= 0 and #entries == step
  if isCut or #entries < step then break end
end

local after = tonumber(ARGV[1])
if tonumber(page[4]) ~= after + 1 and keptAfter(KEYS[2], KEYS[1], after) then
  page[2] = '1'
elseif isCut and ARGV[4] ~= '' then
  local user = redis.call('HMGET', KEYS[2], 'epoch', 'slow')
  if user[1] == ARGV[5] then
    redis.call('HSET', KEYS[2], 'slow', withReader(user[2], ARGV[4], tonumber(page[#page - 1])))
    page[3] = '1'
  end
end
return page
