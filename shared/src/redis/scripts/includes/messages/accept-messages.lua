-- Stores, numbers and hands over messages: what accept/accept.lua does, and schedules/promote-messages.lua for those
-- whose time has come. KEYS, ARGV and the lines of the result are as accept documents them. `promoted` is nil, or each
-- message's record in the form `scheduled` (includes/scheduled-record), which is then replaced. `collapsing` is nil if
-- no message of the call has a collapse key, or what includes/collapse-messages makes.
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 'busy' end

local seed, ackTimeoutMs, inboxCap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local channel, handOverHere = ARGV[5], ARGV[6] == 'accept'
local keepMs, recordKeepMs = tonumber(ARGV[7]), tonumber(ARGV[8])
local receiveLimit = tonumber(ARGV[9])
local receiveSubMs, receiveHeld = tonumber(ARGV[10]), tonumber(ARGV[11])
local subWindow = math.floor(now / receiveSubMs)
local count = (#KEYS - 6) / 4
local dayMs = 86400000

local generation = currentGeneration(KEYS[1])
-- A number becomes text once: formatting costs as much as a small command.
local nowText, wakeAt = ms(now), now + ackTimeoutMs
local wakeAtText = ms(wakeAt)
local recordKeepText = ms(recordKeepMs)
local lines = { 'now ' .. nowText }
local forNode, nodes = {}, {}     -- node -> { line, … } and the nodes in the order of their first line
local stored, storedFor, storedCount = {}, {}, 0 -- line, and its nodes or false, in order

-- ttlMs [SPACE acceptedAt] -> { expiresAt, expiresAt as text, when to look at its user, acceptedAt as text }
local ofTtl = {}
local function expiryOf(ttlText)
  local expiry = ofTtl[ttlText]
  if not expiry then
    local ttl, acceptedAt = string.match(ttlText, '^(%d+) ?(%d*)$')
    local expiresAt = now + ttl
    local text = ms(expiresAt)
    expiry = { expiresAt, text, expiresAt < wakeAt and text or wakeAtText, acceptedAt ~= '' and acceptedAt or nowText }
    ofTtl[ttlText] = expiry
  end
  return expiry
end

-- What the message before has read, for the next one of the same user: they come side by side. The user stays as read
-- unless more than `seq` was changed. (Tables by user would cost every other call more than this saves.)
local lastId, lastUser, lastNodes = nil, nil, nil

local userFrom = #string.match(KEYS[1], '^[^}]*}') + #':user:' + 1
local userIds, armed = {}, { 'ZADD', KEYS[2], 'LT' }
for i = 1, count do
  local userId = string.sub(KEYS[3 + i * 4], userFrom)
  userIds[i] = userId
  armed[i * 2 + 2] = expiryOf(ARGV[10 + i * 4])[3]
  armed[i * 2 + 3] = userId
end
if count > 0 then redis.call(unpack(armed)) end

-- No inbox bounds what goes to the fallback at once: users may acknowledge it before it is sent on.
local fallback = { h = KEYS[4], n = KEYS[5], l = KEYS[6] }
local fallbackCap, roomFor = tonumber(ARGV[12]), {}
roomFor.h = fallbackCap - redis.call('XLEN', KEYS[4])
roomFor.n = fallbackCap - redis.call('XLEN', KEYS[5])
roomFor.l = fallbackCap - redis.call('XLEN', KEYS[6])

-- A user's hash and inbox outlive every record. They are extended by whole days, so the online path pays once a day.
local keepUntil, keepUntilText = now + keepMs, ms(now + keepMs + dayMs)
local function keepUser(userKey, inboxKey)
  redis.call('HSET', userKey, 'keepUntil', keepUntilText)
  redis.call('PEXPIRE', userKey, ms(keepMs + 2 * dayMs))
  redis.call('PEXPIRE', inboxKey, ms(keepMs + dayMs))
end

-- Returns what is recorded under this id already, or false.
local function record(recordKey, value, ttlText, epoch)
  if promoted then
    redis.call('SET', recordKey, value, 'PX', ttlText)
    return false
  end
  local known = redis.call('SET', recordKey, value, 'NX', 'GET', 'PX', ttlText)
  if not known or not isOfOtherHistory(known, epoch) then return known end
  replaceNamesake(recordKey, value, ttlText)
  return false
end

for i = 1, count do
  local k, a = 3 + i * 4, 8 + i * 4
  local userKey, inboxKey, routesKey, recordKey = KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local userId, body, ttlText, identity = userIds[i], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local letter = fallback[ARGV[a + 4]] and ARGV[a + 4]
  local expiry = expiryOf(ttlText)
  local expiresAtText = expiry[2]

  local user
  if userId == lastId then
    user, lastUser = lastUser, nil
  else
    lastId, lastUser, lastNodes = userId, nil, nil
  end
  local isNew, seq, epoch, acked
  --@include read-user

  local isLimited, notes, areMoved = false, nil, false
  if receiveLimit > 0 then
    local received
    received, notes, areMoved = receivedLately(user[7], seq, subWindow, receiveHeld)
    isLimited = received >= receiveLimit
  end

  local seqText = ms(seq + 1)
  local known
  local isFull = seq - acked >= inboxCap
  -- Some of these numbers may have been removed (includes/taken-out).
  if isFull then
    local leaving = collapsing and collapsing.leaving(i, inboxKey, acked, epoch) or 0
    isFull = redis.call('XLEN', inboxKey) - leaving >= inboxCap
  end
  local recordTtl = letter and ms(expiry[1] - now + recordKeepMs) or recordKeepText
  local isRefused = isFull or isLimited or (letter and roomFor[letter] <= 0)
  if isRefused then
    known = redis.call('GET', recordKey)
    if known and (promoted or isOfOtherHistory(known, epoch)) then known = nil end
    if not known then
      lines[i + 1] = isFull and '!' or not isLimited and '?'
        or '~' .. ms(waitForRoom(user[7], seq, receiveLimit, subWindow, receiveSubMs, receiveHeld))
    end
    -- Else a clock that was set back would move the notes at each call, and the user would wait for ever.
    if areMoved then redis.call('HSET', userKey, 'received', noteBeginning(notes, subWindow, seq)) end
  else
    local acceptedAt = promoted and promoted[i].acceptedAt or expiry[4]
    local value = seqText .. '\t' .. epoch .. '\t' .. acceptedAt .. '\t' .. expiresAtText .. '\t' .. userId .. '\t'
      .. identity
    known = record(recordKey, value, recordTtl, epoch)
  end

  if known then
    redis.call('PEXPIRE', recordKey, recordTtl, 'GT')
    if not isNew and (user[6] or 0) - keepUntil < 0 then keepUser(userKey, inboxKey) end
    lines[i + 1] = '=' .. known
  elseif not isRefused then
    local inboxValue = epoch .. '\t' .. nowText .. '\t' .. expiresAtText .. '\t' .. body
    redis.call('XADD', inboxKey, seqText .. '-0', 'm', inboxValue)

    local mustKeep = (user[6] or 0) - keepUntil < 0
    local nextExpiry = user[5] and user[5] + 0
    if user[3] == generation and nextExpiry and nextExpiry <= expiry[1] and not notes then
      redis.call('HSET', userKey, 'seq', seqText)
      if not mustKeep and not collapsing then
        user[1] = seqText
        lastUser = user
      end
    else
      local changes = { 'seq', seqText }
      local function change(field, text)
        changes[#changes + 1] = field
        changes[#changes + 1] = text
      end
      if isNew or user[3] ~= generation then
        change('epoch', epoch)
        change('generation', generation)
      end
      if isNew then change('acked', ms(acked)) end
      if isNew and acked < seq then
        -- A rebuilt user's open messages may expire at any time: the next wake, which is at once, reads all of them.
        change('nextExpiry', nowText)
        redis.call('ZADD', KEYS[2], 'LT', nowText, userId)
      elseif not nextExpiry or expiry[1] < nextExpiry then
        -- A lower bound. If it has become too low, a wake looks into the inbox once and corrects it.
        change('nextExpiry', expiresAtText)
      end
      if notes then change('received', noteBeginning(notes, subWindow, seq)) end
      redis.call('HSET', userKey, unpack(changes))
    end
    if mustKeep then keepUser(userKey, inboxKey) end
    lines[i + 1] = '+' .. seqText .. '\t' .. epoch
    if collapsing then
      local ended = collapsing.stored(i, userKey, inboxKey, seq + 1, epoch, userId)
      lines[i + 1] = lines[i + 1] .. '\t' .. ms(ended)
    end

    local line = userId .. '\t' .. seqText .. '\t' .. inboxValue
    if letter then
      roomFor[letter] = roomFor[letter] - 1
      -- All but the data: it is JSON text, and so contains no tab.
      local trace = traceOf(line)
      local head = string.match(string.sub(line, 1, #line - #trace), '^(.*)\t')
      redis.call('XADD', fallback[letter], '*', 'm', head .. trace, 'n', '0')
    end
    local itsNodes = handOverHere and (lastNodes or liveNodes(routesKey, nowText))
    lastNodes = itsNodes
    if itsNodes then
      for n = 1, #itsNodes do
        local node = itsNodes[n]
        local batch = forNode[node]
        if batch then
          batch[#batch + 1] = line
        else
          forNode[node] = { line }
          nodes[#nodes + 1] = node
        end
      end
    end
    storedCount = storedCount + 1
    stored[storedCount], storedFor[storedCount] = line, itsNodes
  end
end

local reached = {}
for _, node in ipairs(nodes) do
  local message = 'deliver\n' .. table.concat(forNode[node], '\n')
  reached[node] = redis.call('SPUBLISH', channel .. node, message) > 0
end
for i = 1, storedCount do
  local handedOver, itsNodes = false, storedFor[i]
  if itsNodes then
    for n = 1, #itsNodes do handedOver = handedOver or reached[itsNodes[n]] end
  end
  if not handedOver then redis.call('XADD', KEYS[3], '*', 'm', stored[i]) end
end
