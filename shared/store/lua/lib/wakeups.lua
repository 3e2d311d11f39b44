-- A wake-up of a queue: Dramatiq's own enqueue, and a token for an idle consumer that waits on `wake:queue:<queue>`.
-- A queue to which enough wake-ups were sent already is left alone: one thread that gets it empties the queue.
-- uses: clock
local function wake_queue(most, queue, message_id, message)
  local messages = P .. ':dramatiq:' .. queue
  if redis.call('LLEN', messages) >= most then return end
  redis.call('HSET', messages .. '.msgs', message_id, message)
  redis.call('RPUSH', messages, message_id)
  redis.call('LPUSH', P .. ':wake:queue:' .. queue, '')
  redis.call('LTRIM', P .. ':wake:queue:' .. queue, 0, most - 1)
end
