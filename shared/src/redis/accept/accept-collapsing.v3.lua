#!lua
-- accept-collapsing: what accept does, for a call in which a message has a collapse key: of a user's messages with one
-- key that nobody has acknowledged, only the newest stays in the inbox (includes/collapse-messages).
--
-- v2: each end is an event, in the same step, if `message.expired` is written.
-- v3: no argument says that messages are not plain.
--
-- KEYS[1..6] as accept's · KEYS[7] events · KEYS[8] event log
-- then five for each message: accept's four · collapsed (hash: collapse key -> the user's messages)
-- ARGV[1..12] as accept's
-- ARGV[13] events  see includes/event-log
-- then five for each message: accept's four · collapse key, "" for none
--
-- The names of the older messages' keys are made from a declared record's, which is in the same slot, and the ids that
-- `collapsed` holds. They are read before anything is written.
--
-- Result: as accept's, but of what was stored "+" seq TAB epoch TAB how many messages ended `expired` for it

--@include server-time
--@include current-generation
--@include missing-user
--@include of-history
--@include live-nodes
--@include received-lately
--@include trace-of
--@include end-keep
--@include scheduled-record
--@include namesake
--@include taken-out
--@include collapse-messages
--@include event-log
local acceptKeys, acceptArgs, withKey = { unpack(KEYS, 1, 6) }, { unpack(ARGV, 1, 12) }, {}
for i = 1, (#KEYS - 8) / 5 do
  local k, a = 8 + 5 * (i - 1), 13 + 5 * (i - 1)
  for f = 1, 4 do
    acceptKeys[#acceptKeys + 1], acceptArgs[#acceptArgs + 1] = KEYS[k + f], ARGV[a + f]
  end
  if ARGV[a + 5] ~= '' then
    withKey[i] = { collapsed = KEYS[k + 5], key = ARGV[a + 5], record = KEYS[k + 4],
      id = string.match(ARGV[a + 1], '^[^\t]*') }
  end
end

local events = ARGV[13] ~= '' and openEvents(ARGV[13], KEYS[7], KEYS[8], currentGeneration(KEYS[1])) or nil
local promoted, collapsing = nil, makeCollapsing(withKey, tonumber(ARGV[7]) + 86400000, events)
local KEYS, ARGV = acceptKeys, acceptArgs
--@include accept-messages
return table.concat(lines, '\n')
