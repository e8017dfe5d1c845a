#!lua
-- publish-topic: numbers messages of topics of one partition, keeps them, and hands them to the nodes that listen.
--
-- Whoever publishes, a topic has one order: number, log and hand-over are one step. A node that misses a message sees
-- the gap at the next one, or by asking for the newest number, and reads the log.
--
-- When memory is full the whole call is refused. (That is what the first line does.)
--
-- KEYS[1] generation  hash, see includes/current-generation
-- then three for each message: topic (hash) · log (stream) · record (string)
-- ARGV[1] seed         8 random characters, for the epochs this call makes
-- ARGV[2] channel      prefix of a topic's channel name, "{pN}"-tagged
-- ARGV[3] recordKeepMs a record's time to live
-- ARGV[4] hashKeepMs   how long a topic's hash outlives its last message
-- then seven for each message:
--   topic · ttlMs · historySize · historyMs · historyBytes · recordTail (#topic TAB fingerprint TAB attempt; "" for no
--   record) · body (id TAB from TAB data [TAB trace])
--
-- Result: lines. First "now <ms>". Then one for each message:
--   "+" offset TAB epoch   published
--   "=" record             its record exists: nothing changed but the record's time to live

--@include server-time
--@include current-generation
--@include missing-user
--@include topic-log

-- None: a message that waits for its time is one that exists.
local promoted = nil
--@include publish-messages
return table.concat(lines, '\n')
