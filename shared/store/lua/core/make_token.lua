-- Keeps an API token, unless the request that asks for it has made one before.
-- ARGV: 1 digest of the token's text  2 token (JSON)  3 request ('' when it may make any number of them)
-- Answers 1, or 0 when the request has made its token, with another text.
if ARGV[3] ~= '' then
  local key = KEYS[1] .. ':idempotency:' .. ARGV[3]
  if redis.call('HSETNX', key, 'made', ARGV[1]) == 0 then
    return redis.call('HGET', key, 'made') == ARGV[1] and 1 or 0
  end
  redis.call('EXPIRE', key, 86400)
end
redis.call('HSET', KEYS[1] .. ':tokens', ARGV[1], ARGV[2])
return 1
