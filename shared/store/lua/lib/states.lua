-- The states by which runs are listed and counted: the status of a live run, the end reason of an ended one.
local REASONS = {R.success, R.failed, R.stopped, R.timeout, R.crashed, R.skipped, R.log_overflow}
local STATES = {S.pending, S.running, unpack(REASONS)}
