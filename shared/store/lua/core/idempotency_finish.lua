-- Notes what a request with an idempotency key was answered. The first answer counts.
-- ARGV: 1 request  2 digest of its query and body  3 answer    Answers the answer that counts.
local key = KEYS[1] .. ':idempotency:' .. ARGV[1]
if redis.call('HSETNX', key, 'answer', ARGV[3]) == 1 then
  redis.call('HSET', key, 'digest', ARGV[2])
  redis.call('EXPIRE', key, 86400)
end
return redis.call('HGET', key, 'answer')
