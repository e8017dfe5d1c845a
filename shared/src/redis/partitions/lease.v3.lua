#!lua flags=allow-oom
-- lease: takes, renews or gives back the ownership of a partition.
--
-- A lease that ends further ahead than its length was given by a clock that was since set back, and its holder may have
-- died. When another asks for it, it gets its length from now, and ends.
--
-- KEYS[1] owner   hash: holder, token, until, leaseMs (new in v2: how long the lease is; v1 leaves it unchanged, and
--                 if it is missing the caller's own counts), features (new in v3: what its holders can do; once
--                 said it stays, whatever release takes it later, so that nothing is stored and then refused)
-- ARGV[1] action  "take" · "renew" · "release"
-- ARGV[2] holder
-- ARGV[3] leaseMs (take, renew)
-- ARGV[4] token   (renew, release) · a nonce, random (take)
-- ARGV[5] features (take) what this holder can do, words joined by spaces
--
-- A new holder gets a larger token, unlike any before. Its number alone could be given out twice, if Redis has lost
-- the writes in which it was first given out. Every owner script refuses any token but the last.
-- Allowed when Redis is out of memory: handing over and acking, which free it, need owners.
--
-- Result: "held" TAB token TAB until · "other" TAB holder TAB until · "free" (released)

--@include server-time
local owner = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until', 'leaseMs')
local holder, token, leaseEnd = owner[1], owner[2], tonumber(owner[3]) or 0
local latest = now + (tonumber(owner[4]) or tonumber(ARGV[3]))
local live = holder and holder ~= '' and leaseEnd > now

if ARGV[1] == 'take' then
  if live and holder ~= ARGV[2] then
    if leaseEnd > latest then
      leaseEnd = latest
      redis.call('HSET', KEYS[1], 'until', ms(leaseEnd))
    end
    return 'other\t' .. holder .. '\t' .. ms(leaseEnd)
  end
  -- Also for the same holder: what it began under the former lease must not go on under this one.
  local number = tonumber(string.match(token or '0', '^%d+')) + 1
  token = ms(number) .. '.' .. ARGV[4]
  local till = ms(now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'token', token, 'holder', ARGV[2], 'until', till, 'leaseMs', ARGV[3],
    'features', ARGV[5])
  return 'held\t' .. token .. '\t' .. till
end

if not live or holder ~= ARGV[2] or token ~= ARGV[4] then
  return 'other\t' .. (holder or '') .. '\t' .. ms(leaseEnd)
end
if ARGV[1] == 'renew' then
  local till = ms(now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'until', till, 'leaseMs', ARGV[3])
  return 'held\t' .. token .. '\t' .. till
end
redis.call('HSET', KEYS[1], 'holder', '', 'until', '0')
return 'free'
