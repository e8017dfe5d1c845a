#!lua
-- accept-plain: stores plain messages for users of one partition, numbers them, and hands them to the nodes that hold
-- their users. Plain: of one TTL, without idempotency key or collapse key, none for the fallback at once. Most messages
-- are; accept.lua stores the others, and says what holds for both.
--
-- A user's messages come together. The user and the routes are read once for them, and the user's hash is written once,
-- after the last one. Nothing may fail in between, or numbers would be given twice: so it is also written before the
-- one command that may be refused.
--
-- Each text that a script makes is looked up in Lua's table of strings, and costs about as much as a hundredth of a
-- message. So what a user's messages have in common is made once, and the nodes' text is joined from its pieces.
--
-- KEYS[1] generation  hash, see includes/current-generation
-- KEYS[2] due         sorted set: user -> next wake
-- KEYS[3] ready       stream
-- then for each user:
--   user (hash) · inbox (stream) · routes (sorted set) · then a record (string) for each message
-- ARGV[1..11]         as accept's
-- ARGV[12] ttlMs
-- ARGV[13] how many messages each user has: a character for each, whose code is 32 more
-- then each message's body, as accept's
--
-- Result: lines. First "now <ms>" or "busy" (ready is full: nothing was stored). Then for each user:
--   "*" seq TAB epoch      all are stored, and this is the first one's number
-- or, if any is not, one for each message: as accept's ("+" "=" "!" "~")

--@include server-time
--@include current-generation
--@include missing-user
--@include of-history
--@include live-nodes
--@include received-lately
--@include scheduled-record
--@include namesake
local call, format, sub, byte = redis.call, string.format, string.sub, string.byte
if call('XLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 'busy' end

local seed, inboxCap, channel, handOverHere = ARGV[1], tonumber(ARGV[3]), ARGV[5], ARGV[6] == 'accept'
local keepMs, receiveLimit, receiveSubMs, receiveHeld =
  tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local subWindow = math.floor(now / receiveSubMs)
local dayMs = 86400000
local generation = currentGeneration(KEYS[1])
-- A number becomes text once: formatting costs as much as a small command. Times are compared as texts: all have 13
-- digits, and reading a number costs more.
local expiresAt, wakeAt = now + tonumber(ARGV[12]), now + tonumber(ARGV[2])
local nowText, expiresAtText, recordTtl = ms(now), ms(expiresAt), ms(tonumber(ARGV[8]))
-- A user's hash and inbox outlive every record. They are extended by whole days, so the online path pays once a day.
local keepUntilText = ms(now + keepMs)
local timesText = '\t' .. nowText .. '\t' .. expiresAtText .. '\t'

-- All users are armed before anything is stored: most are in `due` already (inbox/ack.lua), and nothing is written.
local userFrom = #string.match(KEYS[1], '^[^}]*}') + #':user:' + 1
local counts, userIds, armed = ARGV[13], {}, { 'ZADD', KEYS[2], 'LT' }
local userCount = #counts
do
  local dueText, k = expiresAt < wakeAt and expiresAtText or ms(wakeAt), 4
  for u = 1, userCount do
    local userId = sub(KEYS[k], userFrom)
    userIds[u] = userId
    armed[u * 2 + 2], armed[u * 2 + 3] = dueText, userId
    k = k + byte(counts, u) - 29
  end
  call(unpack(armed))
end

local lines, lineCount = { 'now ' .. nowText }, 1
local nodes, forNode, filled = {}, {}, {} -- in the order of their first message; node -> its text's pieces; how many
local nodesOf = {}                        -- user -> nodes, if there are several
local function deliver(node, head, seqText, inboxValue)
  local pieces, at = forNode[node], filled[node]
  if not pieces then
    pieces, at = { 'deliver' }, 1
    forNode[node] = pieces
    nodes[#nodes + 1] = node
  end
  pieces[at + 1], pieces[at + 2], pieces[at + 3], pieces[at + 4] = head, seqText, '\t', inboxValue
  filled[node] = at + 4
end

-- The user under way: as read, and what has changed since.
local userId, userKey, inboxKey, user, isNew
local seq, seqText, epoch, acked, notes
local writtenSeq, areNotesNew -- what the hash has; whether `notes` differs from it

local function writeUser()
  local changes = {}
  local function change(field, text)
    changes[#changes + 1] = field
    changes[#changes + 1] = text
  end
  if seq > writtenSeq then
    change('seq', seqText)
    if user[3] ~= generation then
      change('epoch', epoch)
      change('generation', generation)
      user[3] = generation
    end
    if isNew then change('acked', ms(acked)) end
    if isNew and acked < writtenSeq then
      -- A rebuilt user's open messages may expire at any time: the next wake, which is at once, reads all of them.
      change('nextExpiry', nowText)
      user[5] = nowText
      call('ZADD', KEYS[2], 'LT', nowText, userId)
    elseif not user[5] or expiresAtText < user[5] then
      -- A lower bound. If it has become too low, a wake looks into the inbox once and corrects it.
      change('nextExpiry', expiresAtText)
      user[5] = expiresAtText
    end
    writtenSeq, isNew = seq, false
  end
  if areNotesNew then change('received', notes) end
  areNotesNew = false
  if #changes > 0 then call('HSET', userKey, unpack(changes)) end
end

local k, a = 4, 13
for u = 1, userCount do
  local count = byte(counts, u) - 32
  userKey, inboxKey = KEYS[k], KEYS[k + 1]
  userId = userIds[u]
  user = nil
  --@include read-user
  writtenSeq, notes, areNotesNew = seq, user[7], false

  local firstSeq, isInRow, mustKeep = seq, true, false
  local common, recordTail = epoch .. timesText, nil
  local itsNodes, nodeCount, head
  for m = 1, count do
    local recordKey = KEYS[k + 2 + m]
    local isLimited, kept, areMoved = false, nil, false
    if receiveLimit > 0 then
      local received
      received, kept, areMoved = receivedLately(notes, seq, subWindow, receiveHeld)
      isLimited = received >= receiveLimit
    end
    local isFull = seq - acked >= inboxCap
    -- Some of these numbers may have been removed (includes/taken-out).
    if isFull then isFull = call('XLEN', inboxKey) >= inboxCap end

    local known, line
    if isFull or isLimited then
      known = call('GET', recordKey)
      if known and isOfOtherHistory(known, epoch) then known = false end
      line = isFull and '!' or '~' .. ms(waitForRoom(notes, seq, receiveLimit, subWindow, receiveSubMs, receiveHeld))
      -- Else a clock that was set back would move the notes at each call, and the user would wait for ever.
      if areMoved then notes, areNotesNew = noteBeginning(kept, subWindow, seq), true end
    else
      local nextText, value = format('%d', seq + 1), nil
      if count == 1 then
        value = nextText .. '\t' .. common .. userId .. '\t-\t-'
      else
        recordTail = recordTail or '\t' .. common .. userId .. '\t-\t-'
        value = nextText .. recordTail
      end
      known = call('SET', recordKey, value, 'NX', 'GET', 'PX', recordTtl)
      if known and isOfOtherHistory(known, epoch) then
        writeUser()
        replaceNamesake(recordKey, value, recordTtl)
        known = false
      end
      if not known then
        if kept then notes, areNotesNew = noteBeginning(kept, subWindow, seq), true end
        seq, seqText = seq + 1, nextText
        local inboxValue = common .. ARGV[a + m]
        call('XADD', inboxKey, nextText, 'm', inboxValue)
        if not head then
          head = '\n' .. userId .. '\t'
          itsNodes = handOverHere and liveNodes(KEYS[k + 2], nowText) or {}
          nodeCount = #itsNodes
          if nodeCount > 1 then nodesOf[userId] = itsNodes end
        end
        if nodeCount == 0 then call('XADD', KEYS[3], '*', 'm', userId .. '\t' .. nextText .. '\t' .. inboxValue) end
        for n = 1, nodeCount do deliver(itsNodes[n], head, nextText, inboxValue) end
        if not isInRow then line = '+' .. nextText .. '\t' .. epoch end
      end
    end
    if known then
      call('PEXPIRE', recordKey, recordTtl, 'GT')
      mustKeep = mustKeep or not isNew
      line = '=' .. known
    end
    if line then
      if isInRow then
        for before = 1, m - 1 do lines[lineCount + before] = '+' .. ms(firstSeq + before) .. '\t' .. epoch end
        isInRow = false
      end
      lines[lineCount + m] = line
    end
  end
  if isInRow then
    lineCount = lineCount + 1
    lines[lineCount] = '*' .. (count == 1 and seqText or ms(firstSeq + 1)) .. '\t' .. epoch
  else
    lineCount = lineCount + count
  end

  if areNotesNew or user[3] ~= generation or not user[5] or expiresAtText < user[5] then
    writeUser()
  elseif seq > writtenSeq then
    call('HSET', userKey, 'seq', seqText)
  end
  if (not user[6] or user[6] < keepUntilText) and (mustKeep or seq > firstSeq) then
    call('HSET', userKey, 'keepUntil', ms(now + keepMs + dayMs))
    call('PEXPIRE', userKey, ms(keepMs + 2 * dayMs))
    call('PEXPIRE', inboxKey, ms(keepMs + dayMs))
  end
  k, a = k + 3 + count, a + count
end

local reached = {}
for _, node in ipairs(nodes) do
  reached[node] = call('SPUBLISH', channel .. node, table.concat(forNode[node])) > 0
end
-- The first of a user's nodes looks whether any was reached.
local function reachedNone(ofUser, node)
  local itsNodes = nodesOf[ofUser]
  if not itsNodes then return true end
  for _, other in ipairs(itsNodes) do
    if reached[other] then return false end
  end
  return itsNodes[1] == node
end
for _, node in ipairs(nodes) do
  local pieces = reached[node] and {} or forNode[node]
  for at = 2, #pieces, 4 do
    local ofUser = sub(pieces[at], 2, -2)
    if reachedNone(ofUser, node) then
      call('XADD', KEYS[3], '*', 'm', ofUser .. '\t' .. pieces[at + 1] .. '\t' .. pieces[at + 3])
    end
  end
end
return table.concat(lines, '\n')
