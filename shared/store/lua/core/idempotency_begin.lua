-- Looks up the answer to a request with an idempotency key, and records the request.
-- ARGV: 1 request  2 digest of its query and body  3 id of the request (random; a repeated call brings the same, and so
--       does the first request when it asks whether another came meanwhile)
-- Answers {'new' | 'repeated', id} ('repeated': it came before, and its answer is unknown), {'answered', answer} or
-- {'mismatch'}.
local request, its_digest, its_id = ARGV[1], ARGV[2], ARGV[3]
local key = KEYS[1] .. ':idempotency:' .. request
local digest, id, answer = unpack(redis.call('HMGET', key, 'digest', 'id', 'answer'))
if not digest then
  redis.call('HSET', key, 'digest', its_digest, 'id', its_id)
  redis.call('EXPIRE', key, 86400)
  return {'new', its_id}
end
if digest ~= its_digest then return {'mismatch'} end
if answer then return {'answered', answer} end
if id ~= its_id then redis.call('HSET', key, 'repeated', '') end
return {redis.call('HEXISTS', key, 'repeated') == 1 and 'repeated' or 'new', id}
