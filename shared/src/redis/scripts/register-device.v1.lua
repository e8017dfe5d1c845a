-- register-device: puts a device into its user's hash, and takes the oldest out where there are too many.
--
-- KEYS[1] devices
-- ARGV[1] deviceId
-- ARGV[2] entry       see redis/device-entry.ts: registeredAt TAB lastSeen TAB quarantinedUntil TAB claim TAB ...
-- ARGV[3] maxDevices  at least 1; beyond it those go that were not seen for longest, never the one that comes
--
-- Result: lines, one for each that had to go: deviceId TAB claim; "" for none

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local excess = redis.call('HLEN', KEYS[1]) - tonumber(ARGV[3])
if excess <= 0 then return '' end

local others = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then
    local lastSeen, claim = string.match(all[i + 1], '^%d+\t(%d+)\t%d+\t([^\t]*)')
    others[#others + 1] = { id = all[i], lastSeen = tonumber(lastSeen) or 0, claim = claim or '' }
  end
end
table.sort(others, function(a, b)
  if a.lastSeen ~= b.lastSeen then return a.lastSeen < b.lastSeen end
  return a.id < b.id
end)
local lines = {}
for i = 1, math.min(excess, #others) do
  redis.call('HDEL', KEYS[1], others[i].id)
  lines[i] = others[i].id .. '\t' .. others[i].claim
end
return table.concat(lines, '\n')
