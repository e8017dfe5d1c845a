#!lua flags=allow-oom
-- promote-retries: moves due retries back to their fallback streams, and says how much waits in each.
--
-- Several processes may call it at the same time, for any partition: one step moves an entry, so it is in one place at
-- any time. Nothing needs fencing.
-- Allowed when Redis is out of memory: it moves, and does not add.
--
-- KEYS[1] retries · KEYS[2..4] fallback streams: high, normal, low
-- ARGV[1] group
-- ARGV[2] limit   entries moved at most
--
-- Result: now (ms) TAB number moved TAB entries that no worker has read yet: of high TAB normal TAB low TAB retries left
-- (new in v2)

--@include server-time
local letterAt = '^[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t.(.)'

local function add(stream, attempts, text) redis.call('XADD', stream, '*', 'm', text, 'n', attempts) end

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms(now), 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  local attempts, text = string.match(member, '^(%d+)\t(.*)$')
  -- A text in any other form cannot be sent, and must not block the others.
  if attempts then
    local letter = string.match(text, letterAt)
    add(letter == 'h' and KEYS[2] or letter == 'l' and KEYS[4] or KEYS[3], attempts, text)
  end
  redis.call('ZREM', KEYS[1], member)
end

-- An entry leaves its stream when it is settled. So what is there and not pending was not read.
local function waiting(stream)
  local length = redis.call('XLEN', stream)
  if length == 0 then return '0' end
  local pending = redis.pcall('XPENDING', stream, ARGV[1])
  if pending.err then return ms(length) end -- no group yet
  return ms(math.max(0, length - pending[1]))
end

return table.concat({ ms(now), ms(#due), waiting(KEYS[2]), waiting(KEYS[3]), waiting(KEYS[4]),
  ms(redis.call('ZCARD', KEYS[1])) }, '\t')
