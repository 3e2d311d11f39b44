-- Removes queues that no task names and no worker serves, with their wake-ups, unless a run waits in them. A run that
-- is enqueued later adds its queue again in the same step.
-- ARGV: 1 now  2… queues    Answers how many were removed.
-- flags: allow-oom
-- uses: clock
for i = 2, #ARGV do
  if redis.call('ZCARD', P .. ':queue:' .. ARGV[i]) == 0 then
    local messages = P .. ':dramatiq:' .. ARGV[i]
    redis.call('SREM', P .. ':queues', ARGV[i])
    redis.call('DEL', P .. ':wake:queue:' .. ARGV[i], messages, messages .. '.msgs')
  end
end
local gone = 0
for i = 2, #ARGV do gone = gone + 1 - redis.call('SISMEMBER', P .. ':queues', ARGV[i]) end
return gone
