-- A topic's hash and its log. The hash: `epoch`, `offset` (the newest number given), `generation`, `previous` and
-- `previousOffset` (the epoch before, and its last number that this Redis still had), `bytes` (of the log's values),
-- `keepMs` (how long a message is kept). Needs server-time, current-generation and missing-user.
--
-- A master that may have lost its predecessor's last writes gives the topic a new epoch, and its numbers go on: a
-- number that was lost is never taken for one that was seen. Up to `previousOffset` nothing was lost, so positions of
-- the previous epoch up to there still hold.
local function readTopicHash(topicKey)
  local topic = redis.call('HMGET', topicKey, 'epoch', 'offset', 'generation', 'previous', 'previousOffset', 'bytes',
    'keepMs')
  return {
    epoch = topic[1],
    offset = tonumber(topic[2]),
    generation = topic[3],
    previous = topic[4] or '',
    previousOffset = topic[5] or '',
    bytes = tonumber(topic[6]) or 0,
    keepMs = tonumber(topic[7]),
  }
end

-- Changes the epoch if this master is of another generation; the caller writes `changes` with what else it changes.
-- Also makes a topic that has no hash: its numbers continue after what its log still has.
local function bringUpToDate(topic, logKey, generation, seed, changes)
  local function change(field, value)
    changes[#changes + 1] = field
    changes[#changes + 1] = value
  end
  if not topic.epoch then
    local offset, _, epoch = missingUser(logKey, seed)
    topic.offset, topic.epoch = offset, epoch
    change('offset', ms(offset))
  elseif topic.generation ~= generation then
    topic.previous, topic.previousOffset = topic.epoch, ms(topic.offset)
    topic.epoch = nextEpoch(topic.epoch, seed)
    change('previous', topic.previous)
    change('previousOffset', topic.previousOffset)
  else
    return
  end
  topic.generation = generation
  change('epoch', topic.epoch)
  change('generation', generation)
end

-- Takes out the oldest messages: those beyond the number or the bytes that may be kept, and those that are too old; at
-- most `most` of them, so that no call takes long. A bound that is nil does not count.
-- Returns the smallest number kept, or nil if the log is empty, and the bytes that are left.
local function trimTopic(topic, logKey, maxCount, maxBytes, keepMs, most)
  local bytes, count = topic.bytes, redis.call('XLEN', logKey)
  if count == 0 then return nil, 0 end
  local over = {}
  local oldest
  -- Mostly the first or the second ends the search, and values may be long.
  local from, pageSize = '-', 2
  repeat
    local page = redis.call('XRANGE', logKey, from, '+', 'COUNT', pageSize)
    local isLast = #page < pageSize
    for _, entry in ipairs(page) do
      local value = entry[2][2]
      local at = tonumber(string.match(value, '^[^\t]*\t(%d+)'))
      local isOver = (maxCount and count > maxCount) or (maxBytes and bytes > maxBytes) or at + keepMs <= now
      if not isOver or #over >= most then
        -- What is too old counts as gone, even if there was no time to remove it.
        if at + keepMs > now then
          oldest = tonumber(string.match(entry[1], '^%d+'))
          break
        end
      else
        over[#over + 1] = entry[1]
        count, bytes = count - 1, bytes - #value
      end
    end
    if not isLast then from, pageSize = '(' .. page[#page][1], 16 end
  until oldest or isLast
  if #over > 0 then redis.call('XDEL', logKey, unpack(over)) end
  if count == 0 then bytes = 0 end
  return oldest, bytes
end
