-- Offers a user's messages to the fallback: those above `acked`, above what was offered of their priority, and not
-- above `upTo`, that are for an offline user and have a notification. The same step notes what was offered, so none is
-- offered twice. An expired message is skipped: `expire` writes its end later.
--
-- A stream with `cap` entries takes none: its messages wait in the inbox, and their user in `due`; messages of other
-- priorities go on. `offered` is below the first message that waits. While some priorities are further, `offeredBy`
-- says how far each one is: "high normal low". (A release that knows `offered` alone may offer such a message once
-- more: the worker that takes the second entry finds its message pushed.)
--
-- streams: fallback streams by the letter of their priority. u: userKey, inboxKey, userId, acked, offered, offeredBy.
-- Returns:
-- - how many were offered, as text, with "+" behind it if a full stream delays others
-- - "complete"; "waits" if only a full stream is in the way; or "more" if `upTo` was not reached (a call reads a
--   bounded number of entries and bytes)
-- - whether any was read
-- - those that are sampled, as the last part of a line: TAB id SPACE trace [, id SPACE trace …]; "" if there are
--   none
-- Needs `trace-of`.
local offerBytesLeft = 262144
local streamLengths = {}
local function offerMessages(streams, cap, u, upTo)
  local base = math.max(u.acked, u.offered or 0)
  local high, normal, low = string.match(u.offeredBy or '', '^(%d+) (%d+) (%d+)$')
  local by = { h = math.max(base, tonumber(high) or 0), n = math.max(base, tonumber(normal) or 0),
    l = math.max(base, tonumber(low) or 0) }
  local furthest, from, waits = math.max(by.h, by.n, by.l), math.huge, {}
  for letter, cursor in pairs(by) do
    streamLengths[letter] = streamLengths[letter] or redis.call('XLEN', streams[letter])
    -- A priority that stayed behind has a message that waits: while its stream is full, no look is needed.
    if cursor < furthest and streamLengths[letter] >= cap then waits[letter] = true
    elseif cursor < from then from = cursor end
  end
  local count, left, traced = 0, 64, ''
  while from < upTo do
    if left == 0 or offerBytesLeft <= 0 then break end
    local entries = redis.call('XRANGE', u.inboxKey, ms(from + 1) .. '-0', ms(upTo) .. '-0', 'COUNT', 8)
    if #entries == 0 then from = upTo end
    for _, entry in ipairs(entries) do
      local seqText, value = string.match(entry[1], '^%d+'), entry[2][2]
      local seq = tonumber(seqText)
      local head, expiresAt, policy, letter, notification =
        string.match(value, '^([^\t]*\t%d+\t(%d+)\t[^\t]*\t(%a)(%a)\t([^\t]*))\t')
      if policy == 'o' and notification ~= '' and tonumber(expiresAt) > now and seq > by[letter]
        and not waits[letter] then
        if streamLengths[letter] >= cap then
          waits[letter] = true
          by[letter] = seq - 1
        else
          local trace = traceOf(value)
          redis.call('XADD', streams[letter], '*', 'm', u.userId .. '\t' .. seqText .. '\t' .. head .. trace, 'n', '0')
          streamLengths[letter] = streamLengths[letter] + 1
          count = count + 1
          if trace ~= '' then
            local id = string.match(head, '^[^\t]*\t[^\t]*\t[^\t]*\t([^\t]*)')
            traced = traced .. (traced == '' and '\t' or ',') .. id .. ' ' .. string.sub(trace, 2)
          end
        end
      end
      from = seq
      left = left - 1
      offerBytesLeft = offerBytesLeft - #value
    end
  end
  local isHeldUp = false
  for letter, cursor in pairs(by) do
    if not waits[letter] then by[letter] = math.max(cursor, from)
    elseif cursor < upTo then isHeldUp = true end
  end
  local offered = math.min(by.h, by.n, by.l)
  if offered > (u.offered or 0) and offered > u.acked then redis.call('HSET', u.userKey, 'offered', ms(offered)) end
  if math.max(by.h, by.n, by.l) > offered then
    redis.call('HSET', u.userKey, 'offeredBy', ms(by.h) .. ' ' .. ms(by.n) .. ' ' .. ms(by.l))
  elseif u.offeredBy then
    redis.call('HDEL', u.userKey, 'offeredBy')
  end
  local status = from < upTo and 'more' or isHeldUp and 'waits' or 'complete'
  return ms(count) .. (isHeldUp and '+' or ''), status, left < 64, traced
end
