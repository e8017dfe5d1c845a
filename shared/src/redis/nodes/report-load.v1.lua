#!lua
-- report-load: a push node says how many connections it has, and hears it of the others.
--
-- Refused when Redis is out of memory: then nobody is asked to move either.
--
-- KEYS[1] loads   hash: node -> `connections joinedAt at`, times in server ms
-- ARGV[1] node
-- ARGV[2] connections   "" if the node leaves
-- ARGV[3] joinedAt      as it was answered before; "0" at the node's first report: now
-- ARGV[4] staleMs       a node that has not reported for so long is forgotten
--
-- Result: of each node, this one included unless it leaves: node, connections, joinedAt, separated by tabs; a node a line

--@include server-time
local staleMs = tonumber(ARGV[4])
local joinedAt = tonumber(ARGV[3])
if not staleMs or not joinedAt or (ARGV[2] ~= '' and not tonumber(ARGV[2])) then
  return redis.error_reply('ERR report-load: wrong arguments')
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  if joinedAt == 0 then joinedAt = now end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ms(joinedAt) .. ' ' .. ms(now))
  redis.call('PEXPIRE', KEYS[1], ms(staleMs * 10))
end

local lines = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local connections, joined, at = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
  if not at or now - tonumber(at) > staleMs then
    redis.call('HDEL', KEYS[1], all[i])
  else
    lines[#lines + 1] = all[i] .. '\t' .. connections .. '\t' .. joined
  end
end
return table.concat(lines, '\n')
