-- Numbers, keeps and hands over messages of topics: what topics/publish-topic.lua does, and
-- schedules/promote-publications.lua for those that are due. KEYS, ARGV and the lines of the result are as
-- publish-topic documents them. `promoted` is nil, or each message's record in the form `scheduled`
-- (includes/scheduled-record), which is then replaced.
local seed, channel = ARGV[1], ARGV[2]
local recordKeepMs, hashKeepMs = ARGV[3], tonumber(ARGV[4])
-- At most this many messages are removed for one that is added.
local TRIMMED_AT_ONCE = 8

local generation = currentGeneration(KEYS[1])
local nowText = ms(now)
local lines = { 'now ' .. nowText }
local ofTopic, topics = {}, {} -- topic -> { line, … } and the topics in the order of their first line

for i = 1, (#KEYS - 1) / 3 do
  local k, a = 1 + (i - 1) * 3, 4 + (i - 1) * 7
  local topicKey, logKey, recordKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local name, ttlMs, historySize = ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local historyMs, historyBytes = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local recordTail, body = ARGV[a + 6], ARGV[a + 7]

  local topic, changes = readTopicHash(topicKey), {}
  bringUpToDate(topic, logKey, generation, seed, changes)
  local offsetText = ms(topic.offset + 1)
  local expiresAt = ms(now + math.min(ttlMs, historyMs))
  local record
  if recordTail ~= '' then
    local acceptedAt = promoted and promoted[i].acceptedAt or nowText
    local value = offsetText .. '\t' .. topic.epoch .. '\t' .. acceptedAt .. '\t' .. expiresAt .. '\t' .. recordTail
    if promoted then
      redis.call('SET', recordKey, value, 'PX', recordKeepMs)
    else
      record = redis.call('SET', recordKey, value, 'NX', 'GET', 'PX', recordKeepMs)
    end
  end
  if record then
    redis.call('PEXPIRE', recordKey, recordKeepMs, 'GT')
    if #changes > 0 then redis.call('HSET', topicKey, unpack(changes)) end
    lines[#lines + 1] = '=' .. record
  else
    local value = topic.epoch .. '\t' .. nowText .. '\t' .. expiresAt .. '\t' .. body
    if historySize > 0 then
      redis.call('XADD', logKey, offsetText .. '-0', 'm', value)
      topic.bytes = topic.bytes + #value
    end
    local _, bytes = trimTopic(topic, logKey, historySize, historyBytes, historyMs, TRIMMED_AT_ONCE)
    changes[#changes + 1] = 'offset'
    changes[#changes + 1] = offsetText
    changes[#changes + 1] = 'bytes'
    changes[#changes + 1] = ms(bytes)
    if topic.keepMs ~= historyMs then
      changes[#changes + 1] = 'keepMs'
      changes[#changes + 1] = ms(historyMs)
    end
    redis.call('HSET', topicKey, unpack(changes))
    redis.call('PEXPIRE', topicKey, ms(historyMs + hashKeepMs))
    redis.call('PEXPIRE', logKey, ms(historyMs))
    lines[#lines + 1] = '+' .. offsetText .. '\t' .. topic.epoch

    local line = offsetText .. '\t' .. value
    local batch = ofTopic[name]
    if batch then
      batch[#batch + 1] = line
    else
      ofTopic[name] = { line }
      topics[#topics + 1] = name
    end
  end
end

for _, name in ipairs(topics) do
  redis.call('SPUBLISH', channel .. name, 'publish\n' .. table.concat(ofTopic[name], '\n'))
end
