-- Redis' own clock: `now` in ms, and `ms(n)`, a whole number as text (Lua's own way turns large ones into 1.7e+12).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(n) return string.format('%.0f', n) end
