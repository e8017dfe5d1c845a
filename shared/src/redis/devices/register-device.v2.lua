-- register-device: puts a device into its user's hash, and evicts others if there are too many.
--
-- Since v2 a device that is registered again keeps the time when a push to it was first taken, see touch-device.
--
-- KEYS[1] devices
-- ARGV[1] deviceId
-- ARGV[2] entry       see redis/device-entry.ts: registeredAt TAB lastSeen TAB quarantinedUntil TAB claim TAB ...
-- ARGV[3] maxDevices  at least 1; beyond it, the least recently seen go, never the new one
--
-- Result: lines, one for each evicted device: deviceId TAB claim; "" for none

local former = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local registeredAt, seenAt = string.match(former, '^(%d+)\t(%d+)\t%d+\t[^\t]*\tios\t')
-- An older release did not record it; but there, lastSeen is later than registeredAt only if a push was taken.
local takenAt = string.match(former, '\tt(%d+)$') or (seenAt and tonumber(seenAt) > tonumber(registeredAt) and seenAt)
redis.call('HSET', KEYS[1], ARGV[1], registeredAt and takenAt and ARGV[2] .. '\tt' .. takenAt or ARGV[2])
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
