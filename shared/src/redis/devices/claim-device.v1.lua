-- claim-device: gives a device to a user, if its owner is still the one from when its registration began.
--
-- Each claim is written here at most once, and never comes back. So a call that runs late or twice changes nothing that
-- came after it.
--
-- KEYS[1] device owner, in a slot of its own: this is the only key
-- ARGV[1] expected  user TAB claim, as it was read; "" for no owner
-- ARGV[2] next      user TAB claim, with a claim that was never used
-- ARGV[3] keepMs    how long the key lives if nobody renews it
--
-- Result: "claimed", or "changed": nothing was written

local current = redis.call('GET', KEYS[1]) or ''
if current == ARGV[2] then return 'claimed' end
if current ~= ARGV[1] then return 'changed' end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 'claimed'
