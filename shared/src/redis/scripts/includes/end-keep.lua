-- For how long an end can be asked for from when it is written, at least: the day of the contract, and an hour to spare.
-- An end that moves a record's time to live only ever lengthens it (GT).
local END_KEEP_MS = 90000000
