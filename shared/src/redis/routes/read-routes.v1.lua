-- read-routes: the nodes that hold live connections of users, for a batch of users.
--
-- KEYS[i] routes of the i-th user
--
-- Result: lines, one for each user: the distinct nodes joined by TAB; an empty line for none

--@include server-time
--@include live-nodes
local lines = {}
for i = 1, #KEYS do lines[i] = table.concat((liveNodes(KEYS[i], ms(now))), '\t') end
return table.concat(lines, '\n')
