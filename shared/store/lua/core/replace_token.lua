-- Replaces the row of an API token, if it is still there as it was read.
-- ARGV: 1 digest of the token's text  2 the row that was read  3 the new one
-- Answers 1, or 0 when it is another one by now, or gone.
local tokens = KEYS[1] .. ':tokens'
local row = redis.call('HGET', tokens, ARGV[1])
if row == ARGV[3] then return 1 end   -- asked twice
if row ~= ARGV[2] then return 0 end
redis.call('HSET', tokens, ARGV[1], ARGV[3])
return 1
