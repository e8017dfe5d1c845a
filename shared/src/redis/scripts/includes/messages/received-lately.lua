-- How many messages a user was sent in the last window, derived from their numbers. Beside the cursor is the beginning
-- of each sub-window: the last seq before it. The oldest sub-window counts completely, as in take-from-window. When the
-- clock is set back, all notes move with it.
--
-- "newest:from index:seq …": the sub-window of the last note, and the seq before the oldest; then all, oldest first.
-- Within one sub-window nothing drops out, so most messages read the first two numbers and no more.
local function readNotes(notes, current, held)
  local newest = tonumber(string.match(notes, '^%d+'))
  local back = newest > current and newest - current or 0
  local kept = {}
  for index, before in string.gmatch(notes, ' (%d+):(%d+)') do
    index = tonumber(index) - back
    if index >= current - held then kept[#kept + 1] = { index, before } end
  end
  return kept, back > 0
end

-- Also returns the notes that still count, and whether they moved; neither if the last note is of this sub-window.
local function receivedLately(notes, seq, current, held)
  if not notes then return 0, {} end
  local newest, from = string.match(notes, '^(%d+):(%d+)')
  if tonumber(newest) == current then return seq - tonumber(from) end
  local kept, isMoved = readNotes(notes, current, held)
  return kept[1] and seq - tonumber(kept[1][2]) or 0, kept, isMoved
end

-- The notes with this sub-window's beginning added, as text.
local function noteBeginning(kept, current, seq)
  local last = kept[#kept]
  if not last or last[1] < current then kept[#kept + 1] = { current, ms(seq) } end
  local texts = { ms(current) .. ':' .. kept[1][2] }
  for i, note in ipairs(kept) do texts[i + 1] = ms(note[1]) .. ':' .. note[2] end
  return table.concat(texts, ' ')
end

-- How long until one more message may come, ms.
local function waitForRoom(notes, seq, limit, current, subMs, held)
  local kept = readNotes(notes, current, held)
  for i, note in ipairs(kept) do
    local after = kept[i + 1] and tonumber(kept[i + 1][2]) or seq
    if seq - after < limit then return (note[1] + held + 1) * subMs - now end
  end
  return 0
end
