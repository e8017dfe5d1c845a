-- Connections of a user that are behind, so that what others acknowledge is kept for them: "connection:seq:until" each,
-- joined by spaces, in the field `slow` of the user's hash. Each says itself where it stands, while it is behind, and
-- counts until then only; so what is forgotten here costs memory for a minute, and whoever is forgotten is told
-- (includes/kept-after). Nothing of it is written for those who are up to date.
local HOLD_MS = 60000
local MAX_SLOW = 16

-- The lowest number that one of them has, or nil where nobody is behind.
local function slowestOf(text)
  local lowest
  for seqText, untilText in string.gmatch(text or '', ':(%d+):(%d+)') do
    local till, seq = tonumber(untilText), tonumber(seqText)
    -- (One that lies further ahead was written by a clock that has been set back since.)
    if till > now and till <= now + HOLD_MS and (not lowest or seq < lowest) then lowest = seq end
  end
  return lowest
end

-- The text with this connection at `seq`, or, where that is nil, without it; "" where nobody is left.
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

-- Trims what is acked: all but the last `history`; where somebody is behind, but what that one still lacks, and of that
-- the last `slowHistory` at most.
local function trimAcked(inboxKey, acked, history, slowHistory, slowText)
  local from = acked - history
  local slowest = slowText and slowestOf(slowText)
  if slowest then from = math.min(from, math.max(slowest, acked - slowHistory)) end
  if from > 0 then redis.call('XTRIM', inboxKey, 'MINID', '~', ms(from + 1) .. '-0') end
end
