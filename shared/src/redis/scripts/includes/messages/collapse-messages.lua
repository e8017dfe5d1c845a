-- Of a user's messages with one collapse key that nobody has acknowledged, only the newest stays in the inbox. Used
-- with includes/accept-messages, whose `collapsing` this makes. Needs server-time, of-history, end-keep, taken-out and
-- trace-of.
--
-- The user's hash of collapse keys: key -> its messages in the inbox, "seq id" joined by ",", oldest first. Mostly that
-- is one. A message that is being sent (recall/begin-send.lua), or that one of the user's phones has while another is
-- tried again, is left alone: once that is settled, fallback/settle-fallback.lua removes it.
--
-- An older message that is queued ends `expired`, with PETREL_COLLAPSED; one that was pushed, or failed, keeps its end,
-- which an acknowledgement no longer changes. One that was nudged passes that on: else a value that changes every few
-- seconds would never reach a phone. No client is told.
--
-- The names of the older messages' keys are made from a declared record's and the id that the hash of collapse keys
-- holds: they are in the same slot, and are read before anything is written.
local function readOlder(recordKey, sendingKey, sendsKey)
  return { recordKey = recordKey, record = redis.call('GET', recordKey),
    isBeingSent = redis.call('EXISTS', sendingKey, sendsKey) > 0 }
end

-- messages: for each of the call, in order, nil if it has no collapse key, or { user (hash), collapsed (hash), key,
-- record, id }. keepMs: how long the hash of collapse keys outlives its last change. events: see
-- includes/event-log, or nil.
local function makeCollapsing(messages, keepMs, events)
  local function readList(collapsedKey, key) return redis.call('HGET', collapsedKey, key) or '' end
  local function readRecord(recordKey) return redis.call('GET', recordKey) end

  local lists = {} -- collapsed (hash) TAB key -> older messages, oldest first
  for _, one in pairs(messages) do
    local name = one.collapsed .. '\t' .. one.key
    if not lists[name] then
      local list, prefix = {}, string.match(one.record, '^[^}]*}:')
      for seqText, id in string.gmatch(readList(one.collapsed, one.key), '(%d+) ([^,]+)') do
        local older = readOlder(prefix .. 'record:' .. id, prefix .. 'sending:' .. id, prefix .. 'device-sends:' .. id)
        older.seq, older.id = tonumber(seqText), id
        list[#list + 1] = older
      end
      lists[name] = list
    end
    one.list = lists[name]
  end

  local function writeList(collapsedKey, key, list)
    local texts = {}
    for n, older in ipairs(list) do texts[n] = ms(older.seq) .. ' ' .. older.id end
    redis.call('HSET', collapsedKey, key, table.concat(texts, ','))
    redis.call('PEXPIRE', collapsedKey, ms(keepMs))
  end
  local function writeEnd(recordKey, record)
    redis.call('SET', recordKey, record, 'KEEPTTL')
    redis.call('PEXPIRE', recordKey, ms(END_KEEP_MS), 'GT')
  end
  local function makeRecord(recordKey, record) redis.call('SET', recordKey, record, 'PX', ms(END_KEEP_MS)) end
  -- Ends one of them, with its entry of the inbox. Returns 1 if it was queued until now, else 0.
  local function endOne(older, value, userId)
    local epoch, at, expiresAt = string.match(value, '^([^\t]*)\t(%d+)\t(%d+)\t')
    local word = tonumber(expiresAt) <= now and '' or 'PETREL_COLLAPSED'
    local ending, record = '\texpired ' .. ms(now) .. (word == '' and '' or ' ' .. word), older.record
    local function tell(acceptedAt)
      if events then
        events.write('x', userId, ms(older.seq), epoch, { older.id, acceptedAt, word }, traceOf(value))
      end
    end
    if not record then
      -- Nobody has looked for a day (inbox/keep-records.lua).
      makeRecord(older.recordKey, table.concat({ ms(older.seq), epoch, at, expiresAt, userId, '?', '?' }, '\t') .. ending)
      tell(at)
      return 1
    end
    local tail = string.match(record, '^%d+\t[^\t]*\t%d+\t%d+\t[^\t]*\t[^\t]*\t[^\t]*(.*)$')
    if tail == '' then
      writeEnd(older.recordKey, record .. ending)
      tell(string.match(record, '^%d+\t[^\t]*\t(%d+)\t') or at)
      return 1
    end
    if string.match(tail, '^\tpushed ') or string.match(tail, '^\tfailed ') then
      if not string.match(tail, ' over$') then writeEnd(older.recordKey, record .. ' over') end
    end
    return 0
  end
  local function entryOf(inboxKey, older, epoch)
    local id = ms(older.seq) .. '-0'
    local entry = redis.call('XRANGE', inboxKey, id, id)[1]
    local itsEpoch, itsId = string.match(entry and entry[2][2] or '', '^([^\t]*)\t%d+\t%d+\t([^\t]*)')
    return itsId == older.id and isOfHistory(itsEpoch, epoch) and entry[2][2] or nil
  end
  -- The hash keeps what is acknowledged since. So many of them are removed at once that each is looked at twice.
  local function prune(collapsedKey, inboxKey, acked)
    local length = redis.call('HLEN', collapsedKey)
    if length <= 64 + 2 * redis.call('XLEN', inboxKey) then return end
    local all, gone = redis.call('HGETALL', collapsedKey), {}
    for f = 1, #all, 2 do
      local newest = tonumber(string.match(all[f + 1], '(%d+) [^,]+$'))
      if not newest or newest <= acked then gone[#gone + 1] = all[f] end
      if #gone == 1000 then break end
    end
    if #gone > 0 then redis.call('HDEL', collapsedKey, unpack(gone)) end
  end

  return {
    -- How many messages leave the inbox for the i-th of the call.
    leaving = function(i, inboxKey, acked, epoch)
      local count = 0
      for _, older in ipairs(messages[i] and messages[i].list or {}) do
        if older.seq > acked and not older.isBeingSent and entryOf(inboxKey, older, epoch) then count = count + 1 end
      end
      return count
    end,
    -- The i-th was stored under this number. Returns how many ended for it.
    stored = function(i, userKey, inboxKey, seq, epoch, userId)
      local one = messages[i]
      if not one then return 0 end
      local user = redis.call('HMGET', userKey, 'acked', 'ended', 'nudged', 'takenOut')
      local acked, nudged, takenOut = tonumber(user[1]), tonumber(user[3]), tonumber(user[4]) or 0
      local left, ended, gone, isNudged = {}, 0, {}, false
      for _, older in ipairs(one.list) do
        local value = older.seq > acked and entryOf(inboxKey, older, epoch)
        if value and older.isBeingSent then
          left[#left + 1] = older
        elseif value then
          ended = ended + endOne(older, value, userId)
          gone[#gone + 1] = ms(older.seq) .. '-0'
          takenOut = math.max(takenOut, older.seq)
          isNudged = isNudged or (nudged and older.seq <= nudged)
        end
      end
      left[#left + 1] = { seq = seq, id = one.id, recordKey = one.record, isBeingSent = false,
        record = readRecord(one.record) }
      -- In place: later messages of the call have the same list.
      for n = 1, math.max(#one.list, #left) do one.list[n] = left[n] end
      writeList(one.collapsed, one.key, left)
      if #gone > 0 then
        redis.call('XDEL', inboxKey, unpack(gone))
        local over = overTakenOut(inboxKey, acked, seq)
        local changes = { 'takenOut', ms(takenOut) }
        local function change(field, text)
          changes[#changes + 1] = field
          changes[#changes + 1] = text
        end
        if isNudged then change('nudged', ms(seq)) end
        if over > acked then
          change('acked', ms(over))
          change('ended', endedUpTo(user[2], acked, over))
        end
        redis.call('HSET', userKey, unpack(changes))
      end
      prune(one.collapsed, inboxKey, acked)
      return ended
    end,
  }
end
