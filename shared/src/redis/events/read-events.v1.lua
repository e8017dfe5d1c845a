#!lua flags=allow-oom
-- read-events: a page of a partition's events, and the reader's position after it.
--
-- It writes only if it is the first to see a new generation (includes/event-log). So a reader never gets an entry of
-- a later generation than the one that its position is then said to belong to.
--
-- KEYS[1] events  stream · KEYS[2] event log  hash · KEYS[3] generation
-- ARGV[1] mark    of the reader's position; "" if it has none
-- ARGV[2] after   the id of its position; without a mark "oldest", "now", or a time in ms
-- ARGV[3] limit   at most 200
--
-- Result: lines. First: marks (see includes/event-log) TAB the id that the page begins after TAB "1" if something
-- between the position and that id is gone, else "0". Then one for each: id TAB the event's text

--@include server-time
--@include current-generation
--@include event-log
local MAX_BYTES = 262144
local generation = currentGeneration(KEYS[3])
local log = openEventLog(KEYS[1], KEYS[2], generation)

local function isBefore(id, other)
  local time, number = string.match(id, '^(%d+)-(%d+)$')
  local otherTime, otherNumber = string.match(other, '^(%d+)-(%d+)$')
  time, otherTime = tonumber(time), tonumber(otherTime)
  return time < otherTime or (time == otherTime and tonumber(number) < tonumber(otherNumber))
end
local function lastId()
  if redis.call('EXISTS', KEYS[1]) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for f = 1, #info, 2 do if info[f] == 'last-generated-id' then return info[f + 1] end end
end

local from, gap = ARGV[2], false
if ARGV[1] == '' then
  if from == 'oldest' then
    from = log.trimmed
  elseif from == 'now' then
    from = lastId()
  else
    local last = lastId()
    from = ms(math.max(1, tonumber(from)) - 1) .. '-9007199254740991'
    if isBefore(last, from) then from = last end
  end
else
  local isKnown, survived = false, nil
  for mark, id in string.gmatch(log.marks, '(%d+):([%d-]+)') do
    if isKnown and not survived then survived = id end
    if mark == ARGV[1] then isKnown = true end
  end
  -- Under the newest mark nothing was lost: a position beyond the end says that the stream was.
  survived = survived or lastId()
  if not isKnown then
    from, gap = '0-0', true
  elseif isBefore(survived, from) then
    from, gap = log.marks:match('(%d+):[%d-]+$') == ARGV[1] and '0-0' or survived, true
  end
end
if isBefore(from, log.trimmed) then from, gap = log.trimmed, true end

local lines, bytes = { log.marks .. '\t' .. from .. '\t' .. (gap and '1' or '0') }, 0
local left, after = tonumber(ARGV[3]), from
while left > 0 and bytes < MAX_BYTES do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', math.min(left, 50))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    lines[#lines + 1] = entry[1] .. '\t' .. entry[2][2]
    bytes = bytes + #entry[2][2]
  end
  after, left = entries[#entries][1], left - #entries
end
return table.concat(lines, '\n')
