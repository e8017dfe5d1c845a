-- Connections of a user that are behind, so that what other devices acknowledge is kept for them. The field `slow` of
-- the user's hash holds "connection:seq:until" for each, joined by spaces. A connection reports its position itself
-- while it is behind, and counts until `until` only. A forgotten entry costs memory for a minute, and a forgotten
-- connection is told what it misses (includes/kept-after). Connections that are up to date write nothing.
local HOLD_MS = 60000
local MAX_SLOW = 16

-- The lowest seq among them, or nil if none is behind.
local function slowestOf(text)
  local lowest
  for seqText, untilText in string.gmatch(text or '', ':(%d+):(%d+)') do
    local till, seq = tonumber(untilText), tonumber(seqText)
    -- (An `until` further ahead was written by a clock that was since set back.)
    if till > now and till <= now + HOLD_MS and (not lowest or seq < lowest) then lowest = seq end
  end
  return lowest
end

-- The text with this connection at `seq`, or without it if `seq` is nil; "" if there is none left.
local function withReader(text, connection, seq)
  local kept = {}
  for other, seqText, untilText in string.gmatch(text or '', '([^ :]+):(%d+):(%d+)') do
    local till = tonumber(untilText)
    if other ~= connection and till > now and till <= now + HOLD_MS then
      kept[#kept + 1] = other .. ':' .. seqText .. ':' .. untilText
    end
  end
  while #kept >= MAX_SLOW do table.remove(kept, 1) end
  if seq then kept[#kept + 1] = connection .. ':' .. ms(seq) .. ':' .. ms(now + HOLD_MS) end
  return table.concat(kept, ' ')
end

-- Trims what is acked, except the last `history`. If a connection is behind, what it still lacks stays too, the last
-- `slowHistory` at most.
local function trimAcked(inboxKey, acked, history, slowHistory, slowText)
  local from = acked - history
  local slowest = slowText and slowestOf(slowText)
  if slowest then from = math.min(from, math.max(slowest, acked - slowHistory)) end
  if from > 0 then redis.call('XTRIM', inboxKey, 'MINID', '~', ms(from + 1) .. '-0') end
end
