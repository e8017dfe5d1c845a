-- The messages of a call that are due. Needs server-time, end-keep, trace-of and scheduled-record. Nothing is
-- written yet.
--
-- Of each: its record as readScheduled answers it, with its `id`, `member` and `ttl` (what is left of its time to live,
-- ms). If it is sampled its `trace` is known, and `span` names its promotion's; its payload carries that one on, so
-- that what comes after is the promotion's child. False if its record is gone or says otherwise (it was erased, or an
-- older release took its id); nil if it is not due (any more), or left for the next call, because the call is long
-- enough.
local PROMOTE_BYTES = 262144
local function readDue(scheduledKey, recordKeys, members)
  local found, bytes = {}, 0
  local function recordAt(recordKey) return redis.call('GET', recordKey) or '' end
  for i, member in ipairs(members) do
    local at = redis.call('ZSCORE', scheduledKey, member)
    if at and tonumber(at) <= now and bytes < PROMOTE_BYTES then
      local id, recipient = string.match(member, '^' .. string.rep('%x', 15) .. '([^\t]*)\t(.*)$')
      local waiting = readScheduled(recordAt(recordKeys[i]))
      if waiting and waiting.recipient == recipient then
        waiting.id, waiting.member, waiting.ttl = id, member, waiting.expiresAt - now
        bytes = bytes + #waiting.payload
        waiting.trace = string.sub(traceOf(waiting.payload), 2)
        if waiting.trace ~= '' then
          waiting.span = string.sub(redis.sha1hex(waiting.trace .. id), 1, 16)
          waiting.payload = string.sub(waiting.payload, 1, -20) .. waiting.span .. string.sub(waiting.payload, -3)
        end
        found[i] = waiting
      else
        found[i] = false
      end
    end
  end
  return found
end

-- The end of a message's line: TAB how many it collapsed TAB its trace SPACE its promotion's span, if it has any.
local function tailOf(one, collapsed)
  local traced = one and one.trace ~= '' and one.trace .. ' ' .. one.span or ''
  return (collapsed or traced ~= '') and '\t' .. (collapsed or '0') .. (traced ~= '' and '\t' .. traced or '') or ''
end
