-- The states that a run is listed and counted by: its status while it lives, then its end reason.
local REASONS = {R.success, R.failed, R.stopped, R.timeout, R.crashed, R.skipped, R.log_overflow}
local STATES = {S.pending, S.running, unpack(REASONS)}
