#!lua flags=allow-oom
-- look-at-topics: the newest number of topics of one partition, for a node that listens to them: a message that was
-- lost on its way, and that no later one follows, shows here.
--
-- It also keeps the topics' hashes alive: a topic with listeners keeps its epoch.
--
-- KEYS[1] generation · KEYS[2..] topics (hashes)
-- ARGV[1] seed        8 random characters, for new epochs
-- ARGV[2] hashKeepMs  how long a topic's hash outlives its last message
-- ARGV[3] keepMs      how long a message is kept, for a topic that has none yet
-- Result: a line for each: epoch TAB offset; "-" if the topic has no hash

--@include server-time
--@include current-generation
--@include missing-user
--@include topic-log

local generation = currentGeneration(KEYS[1])
local lines = {}
for i = 2, #KEYS do
  local topic, changes = readTopicHash(KEYS[i]), {}
  if not topic.epoch then
    lines[#lines + 1] = '-'
  else
    -- It has an epoch, so its log is not asked.
    bringUpToDate(topic, '', generation, ARGV[1], changes)
    if #changes > 0 then redis.call('HSET', KEYS[i], unpack(changes)) end
    local ttlMs = (topic.keepMs or tonumber(ARGV[3])) + tonumber(ARGV[2])
    -- Rarely: a look that changes nothing must not be a write.
    if redis.call('PTTL', KEYS[i]) < ttlMs - 86400000 then redis.call('PEXPIRE', KEYS[i], ms(ttlMs)) end
    lines[#lines + 1] = topic.epoch .. '\t' .. ms(topic.offset)
  end
end
return table.concat(lines, '\n')
