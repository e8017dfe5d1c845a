-- The events of a partition, written in the step that changes the state: no event lacks its change, no change its
-- event. Needs server-time and current-generation.
--
-- stream: one field `m`: who TAB seq TAB epoch TAB letter TAB ms TAB four words [TAB trace], see
--   protocol/events/stored-event
-- log: hash
--   generation  of the partition, that the newest mark belongs to
--   marks       "mark:id" joined by ",", the newest 16: after this id, entries belong to this mark. A mark is
--               the time at which its generation was first seen here, so no two are ever the same
--   trimmed     the id up to which entries were dropped, because there were too many, or they were too old
--   version     the last one given to a user's or a topic's presence
--
-- A generation changes when Redis may have lost its last writes (includes/current-generation). What a reader then knows
-- beyond the id behind which the new mark begins did not survive, and neither did the changes that it reports.
local MARKS_KEPT = 16
local EVENTS_TRIMMED = 64 -- at a time

-- Reads the log, and begins a new mark if the generation has changed.
local function openEventLog(streamKey, logKey, generation)
  local log = redis.call('HMGET', logKey, 'generation', 'marks', 'trimmed')
  local length = redis.call('XLEN', streamKey)
  local marks = log[2] or ''
  if log[1] ~= generation then
    local last = '0-0'
    if redis.call('EXISTS', streamKey) == 1 then
      local info = redis.call('XINFO', 'STREAM', streamKey)
      for f = 1, #info, 2 do if info[f] == 'last-generated-id' then last = info[f + 1] end end
    end
    local newest = tonumber(string.match(marks, '(%d+):[^,]*$')) or 0
    marks = (marks == '' and '' or marks .. ',') .. ms(math.max(now, newest + 1)) .. ':' .. last
    local _, commas = string.gsub(marks, ',', '')
    if commas >= MARKS_KEPT then marks = string.match(marks, '^[^,]*,(.*)$') end
    redis.call('HSET', logKey, 'generation', generation, 'marks', marks)
  end
  return { marks = marks, trimmed = log[3] or '0-0', length = length }
end

-- Whether anybody is in a topic has changed, or not.
local function tellOccupied(events, topic, was, is)
  local letter = is and 't' or 'v'
  if was ~= is and events.isWanted(letter) then
    events.write(letter, '#' .. topic, '', '', { events.nextVersion() }, '')
  end
end

-- What a script writes with, or nil if it is given "" instead of cap SPACE letters: none of its events is wanted. Keys
-- of another kind fail here: to be called before the first write.
local function openEvents(argument, streamKey, logKey, generation)
  local capText, letters = string.match(argument, '^(%d+) (%a+)$')
  if not capText then return nil end
  local cap, length = tonumber(capText), openEventLog(streamKey, logKey, generation).length

  local function isWanted(letter) return string.find(letters, letter, 1, true) ~= nil end
  return {
    isWanted = isWanted,
    -- trace: with a TAB before it, or "".
    write = function(letter, who, seq, epoch, words, trace)
      if not isWanted(letter) then return end
      local text = table.concat({ who, seq, epoch, letter, ms(now), words[1] or '', words[2] or '', words[3] or '',
        words[4] or '' }, '\t')
      redis.call('XADD', streamKey, '*', 'm', text .. trace)
      length = length + 1
      if length > cap then
        local oldest = redis.call('XRANGE', streamKey, '-', '+', 'COUNT', math.min(EVENTS_TRIMMED, length - 1))
        local last = oldest[#oldest][1]
        local time, number = string.match(last, '^(%d+)-(%d+)$')
        redis.call('XTRIM', streamKey, 'MINID', time .. '-' .. ms(tonumber(number) + 1))
        redis.call('HSET', logKey, 'trimmed', last)
        length = length - #oldest
      end
    end,
    -- The next version of a presence: only ever higher, whatever the clock does.
    nextVersion = function()
      local version = math.max(now, (tonumber(redis.call('HGET', logKey, 'version')) or 0) + 1)
      redis.call('HSET', logKey, 'version', ms(version))
      return ms(version)
    end,
  }
end
