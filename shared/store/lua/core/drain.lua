-- Asks a worker process to drain: claim nothing new, finish its runs, and exit.
-- ARGV: 1 now  2 worker    Answers 0 when the worker is unknown.
-- flags: allow-oom
-- uses: clock events wakeups
local worker = ARGV[2]
if redis.call('EXISTS', P .. ':worker:' .. worker) == 0 then return 0 end
redis.call('HSET', P .. ':worker:' .. worker, 'drain', '1')
wake_worker(worker)
event('worker.drain', '', '', '', worker)
return 1
