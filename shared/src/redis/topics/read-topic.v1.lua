#!lua flags=allow-oom
-- read-topic: a topic's position, and what its log has above a number.
--
-- It also notices a master that may have lost its predecessor's last writes: the epoch it answers belongs to what it
-- answers. It removes what is too old, a bounded number.
--
-- KEYS[1] generation · KEYS[2] topic (hash) · KEYS[3] log (stream)
-- ARGV[1] seed         8 random characters, for an epoch; "" if an unused topic must not be created
-- ARGV[2] after        the page begins above this number; "" for no page
-- ARGV[3] maxEntries · ARGV[4] maxBytes   the page ends with the message that passes this
-- ARGV[5] hashKeepMs   how long a topic's hash outlives its last message
-- ARGV[6] keepMs       how long a message is kept, for a topic that has none yet
--
-- Result: a list. Empty if the topic was never used, and is not created. Else: now · epoch · offset · oldest (the
-- smallest number kept; offset + 1 if there is none) · previous epoch · its last number · messages kept · "1" if the
-- page holds everything · then number and value of each message.

--@include server-time
--@include current-generation
--@include missing-user
--@include topic-log

local topicKey, logKey = KEYS[2], KEYS[3]
local seed = ARGV[1]
local topic, changes = readTopicHash(topicKey), {}
if not topic.epoch and seed == '' then return {} end
local TRIMMED_AT_ONCE = 1000

-- Without a seed this is a read from outside: a change of epoch is for those who take part.
if seed ~= '' then bringUpToDate(topic, logKey, currentGeneration(KEYS[1]), seed, changes) end
local keepMs = topic.keepMs or tonumber(ARGV[6])
local bytesThen = topic.bytes
local oldest, bytes = trimTopic(topic, logKey, nil, nil, keepMs, TRIMMED_AT_ONCE)
if bytes ~= bytesThen then
  changes[#changes + 1] = 'bytes'
  changes[#changes + 1] = ms(bytes)
end
if #changes > 0 then
  redis.call('HSET', topicKey, unpack(changes))
  redis.call('PEXPIRE', topicKey, ms(keepMs + tonumber(ARGV[5])), 'NX')
end
oldest = oldest or topic.offset + 1

local page, isWhole = {}, '1'
local after = tonumber(ARGV[2])
if after then
  local room = tonumber(ARGV[4])
  local from = ms(math.max(after + 1, oldest)) .. '-0'
  for i, entry in ipairs(redis.call('XRANGE', logKey, from, '+', 'COUNT', tonumber(ARGV[3]) + 1)) do
    if i > tonumber(ARGV[3]) or room <= 0 then
      isWhole = '0'
      break
    end
    page[#page + 1] = string.match(entry[1], '^%d+')
    page[#page + 1] = entry[2][2]
    room = room - #entry[2][2]
  end
end
return { ms(now), topic.epoch, ms(topic.offset), ms(oldest), topic.previous, topic.previousOffset,
  ms(redis.call('XLEN', logKey)), isWhole, unpack(page) }
