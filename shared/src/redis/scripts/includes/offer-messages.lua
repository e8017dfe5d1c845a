-- Offers a user's messages to the fallback: those above both `acked` and `offered`, up to and including `upTo`, that wait
-- for an offline user and say what to notify. `offered` moves in the same step, so that none is offered twice. What is
-- over its time is passed over: its end is written by `expire`, which comes in its own time.
--
-- streams: fallback streams by the letter of their priority. Returns how many were offered; whether `upTo` was reached
-- (a call reads so many entries and bytes at most); whether any was read; and of those that are sampled, as the last
-- part of a line, TAB id SPACE trace [, id SPACE trace …], "" where there are none. Needs `trace-of`.
local offerBytesLeft = 262144
local function offerMessages(streams, userKey, inboxKey, userId, acked, offered, upTo)
  local from = math.max(acked, offered or 0)
  local count, left, traced = 0, 64, ''
  while from < upTo do
    if left == 0 or offerBytesLeft <= 0 then break end
    local entries = redis.call('XRANGE', inboxKey, ms(from + 1) .. '-0', ms(upTo) .. '-0', 'COUNT', 8)
    if #entries == 0 then from = upTo end
    for _, entry in ipairs(entries) do
      local seqText, value = string.match(entry[1], '^%d+'), entry[2][2]
      local head, expiresAt, policy, priority, notification =
        string.match(value, '^([^\t]*\t%d+\t(%d+)\t[^\t]*\t(%a)(%a)\t([^\t]*))\t')
      if policy == 'o' and notification ~= '' and tonumber(expiresAt) > now then
        local trace = traceOf(value)
        redis.call('XADD', streams[priority], '*', 'm', userId .. '\t' .. seqText .. '\t' .. head .. trace, 'n', '0')
        count = count + 1
        if trace ~= '' then
          local id = string.match(head, '^[^\t]*\t[^\t]*\t[^\t]*\t([^\t]*)')
          traced = traced .. (traced == '' and '\t' or ',') .. id .. ' ' .. string.sub(trace, 2)
        end
      end
      from = tonumber(seqText)
      left = left - 1
      offerBytesLeft = offerBytesLeft - #value
    end
  end
  if from > (offered or 0) and from > acked then redis.call('HSET', userKey, 'offered', ms(from)) end
  return count, from >= upTo, left < 64, traced
end
