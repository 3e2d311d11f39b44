-- Wake-ups of idle processes, each of which waits for a token in its own list.
-- uses: clock overwritten
local function wake_scheduler()
  redis.pcall('LPUSH', P .. ':wake:scheduler', '')
  redis.pcall('LTRIM', P .. ':wake:scheduler', 0, 0)
end

local function wake_worker(worker)
  local key = P .. ':wake:worker:' .. worker
  replacing('LPUSH', key, '')
  redis.call('LTRIM', key, 0, 0)
  redis.call('PEXPIRE', key, 60000)
end

-- Enqueues a Dramatiq message, and a token for an idle consumer. A queue that has `most` wake-ups already gets no more:
-- one thread that gets one of them empties the queue.
local function wake_queue(most, queue, message_id, message)
  local messages = P .. ':dramatiq:' .. queue
  if replacing('LLEN', messages) >= most then return end
  replacing('HSET', messages .. '.msgs', message_id, message)
  redis.call('RPUSH', messages, message_id)
  replacing('LPUSH', P .. ':wake:queue:' .. queue, '')
  redis.call('LTRIM', P .. ':wake:queue:' .. queue, 0, most - 1)
end
