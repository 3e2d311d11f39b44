-- Hands the execution that is due first, of those that wait for a consumer outside, to one.
-- ARGV: 1 now  2 consumer  3 lease_us  4 about the consumer (JSON)  5… tasks that it executes
-- Answers {execution, its newest run, record}, or {'', in how many microseconds the next is due or ''}.
-- flags: allow-oom
-- uses: clock records
local consumer = ARGV[2]
redis.call('ZADD', P .. ':consumers', NOW + tonumber(ARGV[3]), consumer)
redis.call('HSET', P .. ':consumers:about', consumer, ARGV[4])
while true do
  local x, task, due
  for i = 5, #ARGV do
    local first = redis.call('ZRANGE', P .. ':inbox:' .. ARGV[i], 0, 0, 'WITHSCORES')
    if first[1] and (not due or tonumber(first[2]) < due) then x, task, due = first[1], ARGV[i], tonumber(first[2]) end
  end
  if not x or due > NOW then return {'', due and text(due - NOW) or ''} end
  redis.call('ZREM', P .. ':inbox:' .. task, x)
  local head = redis.call('LRANGE', P .. ':exec-runs:' .. x, -1, -1)[1] or x
  local r = load(head)
  if r and r[F.status] == 'pending' then
    r[F.worker] = consumer
    save(head, r)
    redis.call('SADD', P .. ':handed:' .. consumer, x)
    return {x, head, redis.call('GET', P .. ':run:' .. head)}
  end
end
