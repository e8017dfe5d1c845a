-- read-last-seen: which users are connected, and when the others' last connection ended.
--
-- A connection that closes leaves the time in its user's hash (routes/leave.lua). Of a node that died there is the lease:
-- the latest that has ended. Before the first connection's end, the hash has the time of a
-- connect: the last, or one at most ten minutes older (routes/connect.lua).
--
-- KEYS[2i-1] routes (sorted set) · KEYS[2i] user (hash)   of the i-th user
--
-- Result: a line for each user: "+" for one who is connected; else when the last connection ended, ms; "" for unknown

--@include server-time
local lines = {}
for i = 1, #KEYS / 2 do
  local isThere, last = false, tonumber(redis.call('HGET', KEYS[2 * i], 'seenAt')) or 0
  local routes = redis.call('ZRANGE', KEYS[2 * i - 1], 0, -1, 'WITHSCORES')
  for r = 1, #routes, 2 do
    if string.match(routes[r], '^%d+/([^/]+)/') ~= '-' then
      local leaseEnd = tonumber(routes[r + 1])
      if leaseEnd > now then isThere = true elseif leaseEnd > last then last = leaseEnd end
    end
  end
  lines[i] = isThere and '+' or last > 0 and ms(last) or ''
end
return table.concat(lines, '\n')
