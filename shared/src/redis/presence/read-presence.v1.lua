-- read-presence: how many users are in topics of one partition, and who, if they are few.
--
-- KEYS[2i-1] presenceUsers (sorted set) · KEYS[2i] presenceCounts (hash)   of the i-th topic
-- ARGV[1] maxListed   no more names than this in a call, and none of a topic that has more
-- ARGV[1 + i]         "1" if the i-th topic's users are asked for; else ""
--
-- Result: a line for each topic: users TAB connections, and if they are listed TAB and each name, joined by TAB.
--   "" for a topic whose users do not fit in this call, though they would in one of their own

local room, lines = tonumber(ARGV[1]), {}
for i = 1, #KEYS / 2 do
  local users = redis.call('ZCARD', KEYS[2 * i - 1])
  local line = users .. '\t' .. (redis.call('HGET', KEYS[2 * i], '') or '0')
  if ARGV[1 + i] == '1' and users <= tonumber(ARGV[1]) then
    if users > room then
      line = ''
    else
      room = room - users
      line = line .. '\t' .. table.concat(redis.call('ZRANGE', KEYS[2 * i - 1], 0, -1), '\t')
    end
  end
  lines[i] = line
end
return table.concat(lines, '\n')
