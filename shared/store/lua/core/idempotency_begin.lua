-- Says what a request with this idempotency key was answered, and leaves a mark that it came.
-- ARGV: 1 request  2 digest of its query and body  3 mark (random; a call that is made twice is told by it, and so is
--       the first one that asks whether it is still alone)
-- Answers {'new' | 'seen', mark} ('seen': it came before, and what became of it is not known), {'answered', answer},
-- or {'mismatch'}.
local request, its_digest, its_mark = ARGV[1], ARGV[2], ARGV[3]
local key = KEYS[1] .. ':idempotency:' .. request
local digest, mark, answer = unpack(redis.call('HMGET', key, 'digest', 'mark', 'answer'))
if not digest then
  redis.call('HSET', key, 'digest', its_digest, 'mark', its_mark)
  redis.call('EXPIRE', key, 86400)
  return {'new', its_mark}
end
if digest ~= its_digest then return {'mismatch'} end
if answer then return {'answered', answer} end
if mark ~= its_mark then redis.call('HSET', key, 'again', '') end
return {redis.call('HEXISTS', key, 'again') == 1 and 'seen' or 'new', mark}
