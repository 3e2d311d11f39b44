-- Replaces the row of an API token, if it has not changed since it was read.
-- ARGV: 1 digest of the token's text  2 the row that was read  3 the new one
-- Answers 1, or 0 when the row is another or gone.
local digest, before, after = ARGV[1], ARGV[2], ARGV[3]
local tokens = KEYS[1] .. ':tokens'
local row = redis.call('HGET', tokens, digest)
if row == after then return 1 end   -- a repeated call
if row ~= before then return 0 end
redis.call('HSET', tokens, digest, after)
return 1
