-- Claims the next run for a slot of a worker.
-- ARGV: 1 now  2 wanted (see lib/claim.lua)    Answers {id, record, waiting} or nil.
-- transitions: claim
-- flags: allow-oom
-- uses: claim
return claim_next(cmsgpack.unpack(ARGV[2]))
