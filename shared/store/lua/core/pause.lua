-- Pauses or resumes a task's schedule. Ticks during a pause are not missed ticks: resuming starts from now.
-- ARGV: 1 now  2 task  3 '1' to pause    Answers 1, or 0 when there is no such task.
-- flags: allow-oom
-- uses: clock events wakeups
local task, pauses = ARGV[2], ARGV[3] == '1'
if redis.call('HEXISTS', P .. ':tasks', task) == 0 then return 0 end
if pauses then
  if redis.call('SADD', P .. ':paused', task) == 1 then event('task.paused', task, '', '') end
elseif redis.call('SREM', P .. ':paused', task) == 1 then
  if redis.call('HEXISTS', P .. ':ticks', task) == 1 then redis.call('HSET', P .. ':ticks', task, text(NOW)) end
  event('task.resumed', task, '', '')
end
redis.call('INCR', P .. ':catalog')
wake_scheduler()
return 1
