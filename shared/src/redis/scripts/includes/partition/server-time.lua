-- Redis' own clock: `now` in ms, and `ms(n)`, a whole number as text (%d prints an integer; Lua's own tostring prints a float, at five times the cost).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(n) return string.format('%d', n) end
