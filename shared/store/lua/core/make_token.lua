-- Stores a new API token, unless the same request has created one before.
-- ARGV: 1 digest of the token's text  2 token (JSON)  3 request ('' when it may create any number of tokens)
-- Answers 1, or 0 when the request has created a token with another text.
local digest, token, request = ARGV[1], ARGV[2], ARGV[3]
if request ~= '' then
  local key = KEYS[1] .. ':idempotency:' .. request
  if redis.call('HSETNX', key, 'made', digest) == 0 then
    return redis.call('HGET', key, 'made') == digest and 1 or 0
  end
  redis.call('EXPIRE', key, 86400)
end
redis.call('HSET', KEYS[1] .. ':tokens', digest, token)
return 1
