-- How long an end can be asked for after it is written, at least: the day of the contract, and an hour to spare. An end
-- that changes a record's time to live only ever lengthens it (GT).
local END_KEEP_MS = 90000000
