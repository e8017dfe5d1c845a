-- list-presence: a page of a topic's users, in the order of their names.
--
-- KEYS[1] presenceUsers (sorted set) · KEYS[2] presenceCounts (hash)
-- ARGV[1] after  the page begins after this name; "" for the first page
-- ARGV[2] limit
--
-- Result: lines. First users TAB connections, of the whole topic. Then user TAB connections TAB since, ms, for each

--@include server-time
--@include presence-counts

local lines = { redis.call('ZCARD', KEYS[1]) .. '\t' .. (redis.call('HGET', KEYS[2], '') or '0') }
local page = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
if #page > 0 then
  for i, text in ipairs(redis.call('HMGET', KEYS[2], unpack(page))) do
    lines[i + 1] = page[i] .. '\t' .. ms(shownOf(text)) .. '\t' .. string.match(text, '%d+$')
  end
end
return table.concat(lines, '\n')
