-- A connection in its user's routes: connectTime/node/connection/platform, and a fifth part, "leaving", once its node
-- has marked it (routes/mark-leaving.lua). The platform is the client's own word, and is in the fourth part only. So
-- the parts are counted: a platform that ends in "leaving" is not a mark.
local function platformOf(member) return string.match(member, '^[^/]*/[^/]*/[^/]*/([^/]*)') end
local function isMarkedLeaving(member) return string.match(member, '^[^/]*/[^/]*/[^/]*/[^/]*/leaving') ~= nil end
-- A connect time, in ms.
local function memberTime(atMs) return string.format('%013d', atMs) end
-- A lease of a closed connection, for a user about to return: routes/leave.lua.
local function isGraceLease(member) return string.sub(member, 14, 16) == '/-/' end
