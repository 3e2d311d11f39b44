-- Rings the bell of queues: Dramatiq's own enqueue, and a token for an idle consumer that waits on `ring:<queue>`.
-- A queue whose bell has been rung often enough already is left alone: one thread that hears it empties the queue.
-- ARGV: 1 most bells a queue may have  2… triples: queue, message id, message
-- flags: allow-oom
local P, most = KEYS[1], tonumber(ARGV[1])
for i = 2, #ARGV, 3 do
  local queue = P .. ':dramatiq:' .. ARGV[i]
  if redis.call('LLEN', queue) < most then
    redis.call('HSET', queue .. '.msgs', ARGV[i + 1], ARGV[i + 2])
    redis.call('RPUSH', queue, ARGV[i + 1])
    redis.call('LPUSH', P .. ':ring:' .. ARGV[i], '')
    redis.call('LTRIM', P .. ':ring:' .. ARGV[i], 0, most - 1)
  end
end
return 1
