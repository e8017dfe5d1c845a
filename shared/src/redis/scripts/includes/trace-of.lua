-- The trace context that a stored message's text ends with, TAB and 55 characters; "" where it is not sampled. (JSON text
-- of that length before a tab is nothing of this form.)
local function traceOf(text)
  if string.byte(text, -56) ~= 9 then return '' end
  return string.match(text, '^\t00%-%x+%-%x+%-01$', -56) or ''
end
