-- Not a function, which would cost a hundredth of a message: reads the hash `userKey` into `user`, if that is nil, and
-- sets `isNew`, `seq`, `acked` and the `epoch` for this `generation`. Needs current-generation, missing-user,
-- `inboxKey`, `seed` and `receiveLimit`.
if user then
  -- Read already.
elseif receiveLimit > 0 then
  user = redis.call('HMGET', userKey, 'seq', 'epoch', 'generation', 'acked', 'nextExpiry', 'keepUntil', 'received')
else
  user = redis.call('HMGET', userKey, 'seq', 'epoch', 'generation', 'acked', 'nextExpiry', 'keepUntil')
end
-- (Arithmetic reads a text's number once, `tonumber` twice; if all is acknowledged, the texts are the same.)
isNew, epoch = not user[1], user[2]
if isNew then
  seq, acked, epoch = missingUser(inboxKey, seed)
else
  seq = user[1] + 0
  acked = user[4] == user[1] and seq or user[4] + 0
  if user[3] ~= generation then epoch = nextEpoch(epoch, seed) end
end
