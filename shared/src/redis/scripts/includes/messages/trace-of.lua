-- The trace context at the end of a stored message's text, TAB and 55 characters; "" if it is not sampled. (JSON
-- text of that length never has this form.)
local function traceOf(text)
  if string.byte(text, -56) ~= 9 then return '' end
  return string.match(text, '^\t00%-%x+%-%x+%-01$', -56) or ''
end
