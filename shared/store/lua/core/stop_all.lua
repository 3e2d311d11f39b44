-- Stops the live runs of a task, or those of one execution, which then begins no later group: at most 100 pending ones
-- a call, so that other calls wait only briefly.
-- ARGV: 1 now  2 task ('' for an execution)  3 execution id  4 request ('stop' | 'kill')  5 message
--       6 what the previous call left, '' in the first; later calls for an execution use 4 and 5 of the first
-- Answers {number of runs stopped or asked, what is left: call again until 0, ready queue, runs…}.
-- transitions: stop request_stop skip
-- flags: allow-oom
-- uses: clock groups queues stopping
local task, x, request, message, before = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local stopped, left = 0, 0
if task == '' then
  if before == '' then stopped = stop_execution(x, request, message) else stopped = stop_more(x) end
  left = tonumber(redis.call('HGET', P .. ':exec:' .. x, 'stop_left')) or 0
else
  for _, unmade in ipairs(redis.call('ZRANGE', P .. ':incomplete', 0, MOST_STOPPED - 1)) do
    drop_rest(unmade, R.stopped, message, task)
  end
  local at = P .. ':ix:t:' .. task
  local running = redis.call('ZRANGE', at .. ':' .. S.running .. ':created', 0, -1)
  local waiting = redis.call('ZRANGE', at .. ':' .. S.pending .. ':created', 0, MOST_STOPPED - 1)
  left = #waiting
  stopped = stop_each(waiting, request, message) + stop_each(running, request, message)
end
local answer = {stopped, left}
add_ready(answer)
return answer
