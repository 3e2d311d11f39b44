-- Stores the answer to a request with an idempotency key, unless it has one.
-- ARGV: 1 request  2 digest of its query and body  3 answer    Answers the answer that is stored.
local request, digest, answer = ARGV[1], ARGV[2], ARGV[3]
local key = KEYS[1] .. ':idempotency:' .. request
if redis.call('HSETNX', key, 'answer', answer) == 1 then
  redis.call('HSET', key, 'digest', digest)
  redis.call('EXPIRE', key, 86400)
end
return redis.call('HGET', key, 'answer')
