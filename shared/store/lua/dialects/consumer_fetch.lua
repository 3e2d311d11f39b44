-- Delivers an external execution to a consumer: of those that wait for one, the first that is due.
-- ARGV: 1 now  2 consumer  3 lease_us  4 about the consumer (JSON)  5 slot (16 characters: one connection of the
--       consumer)  6 turn (16 characters)  7… tasks that it executes
-- Answers {execution, its newest run, record}, or {'', in how many microseconds the next is due or ''}.
-- A slot that repeats its call for the same turn gets the same execution, until the consumer reports on that. A call
-- for another turn means that the last delivery was acknowledged or given back (dialects/lib/offers.lua).
-- flags: allow-oom
-- uses: clock records offers
local consumer, lease, about, slot, turn = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
redis.call('ZADD', P .. ':consumers', NOW + lease, consumer)
redis.call('HSET', P .. ':consumers:about', consumer, about)
local before = offer_of(slot)
if before then
  local head = before.turn == turn and before.consumer == consumer and unacknowledged_run(before)
  if head then
    redis.call('ZADD', P .. ':offered', NOW + lease, slot)
    return {before.execution, head, redis.call('GET', P .. ':run:' .. head)}
  end
  drop_offer(slot)
end
while true do
  local x, task, due
  for i = 7, #ARGV do
    local first = redis.call('ZRANGE', P .. ':external-queue:' .. ARGV[i], 0, 0, 'WITHSCORES')
    if first[1] and (not due or tonumber(first[2]) < due) then x, task, due = first[1], ARGV[i], tonumber(first[2]) end
  end
  if not x or due > NOW then return {'', due and text(due - NOW) or ''} end
  redis.call('ZREM', P .. ':external-queue:' .. task, x)
  local head = redis.call('LRANGE', P .. ':exec-runs:' .. x, -1, -1)[1] or x
  local r = load(head)
  if r and r[F.status] == S.pending then
    r[F.worker] = consumer
    save(head, r)
    redis.call('SADD', P .. ':in-flight:' .. consumer, x)
    redis.call('HSET', P .. ':offers', slot, turn .. x .. consumer)
    redis.call('ZADD', P .. ':offered', NOW + lease, slot)
    return {x, head, redis.call('GET', P .. ':run:' .. head)}
  end
end
