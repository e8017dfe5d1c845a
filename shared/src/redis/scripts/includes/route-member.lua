-- A connection in its user's routes: connectTime/node/connection/platform, and a fifth part, "leaving", where its node has
-- marked it (nodes/mark-leaving.lua). The platform is the client's own word: what it says stands in the fourth part, and
-- only there. So the parts are counted; whatever it ends with is no mark.
local function platformOf(member) return string.match(member, '^[^/]*/[^/]*/[^/]*/([^/]*)') end
local function isMarkedLeaving(member) return string.match(member, '^[^/]*/[^/]*/[^/]*/[^/]*/leaving') ~= nil end
