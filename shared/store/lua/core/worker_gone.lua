-- Removes worker processes that stopped sending heartbeats, or one that exits, with the wake-ups that they had taken.
-- ARGV: 1 now  2 worker or '' for all silent since ARGV[3] us  3 silence    Answers the workers that were removed.
-- flags: allow-oom
-- uses: clock events
local worker_id, silence_us = ARGV[2], tonumber(ARGV[3])
local gone = {worker_id}
if worker_id == '' then
  gone = redis.call('ZRANGEBYSCORE', P .. ':workers', '-inf', text(NOW - silence_us), 'LIMIT', 0, 20)
end
for _, worker in ipairs(gone) do
  local broker, messages = redis.call('HGET', P .. ':worker:' .. worker, 'broker'), P .. ':dramatiq'
  for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
    if not broker then break end
    local taken = messages .. ':__acks__.' .. broker .. '.' .. queue
    for _, message in ipairs(redis.call('SMEMBERS', taken)) do
      redis.call('HDEL', messages .. ':' .. queue .. '.msgs', message)
    end
    redis.call('DEL', taken)
  end
  if broker then redis.call('ZREM', messages .. ':__heartbeats__', broker) end
  local known = redis.call('ZREM', P .. ':workers', worker)
  redis.call('DEL', P .. ':worker:' .. worker, P .. ':claims:' .. worker, P .. ':wake:worker:' .. worker)
  if known == 1 then event('worker.left', '', '', '', worker) end
end
return gone
