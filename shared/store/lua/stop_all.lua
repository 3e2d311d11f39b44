-- Stops live runs of a task, or of one execution: all running ones, at most 500 waiting ones a call. Of a task those
-- executions that have yet to come to it are stopped too.
-- ARGV: 1 now  2 task ('' for an execution)  3 execution id  4 wish  5 message
-- Answers {number of runs stopped or asked, pending ones seen: call again until 0, ready queue, runs…}.
-- flags: allow-oom
-- uses: clock records events execution plan ending stopping
local stopped, pending = 0, 0
local function stop_each(ids)
  for i = #ids, 1, -1 do
    local r = load(ids[i])
    if r and r[F.status] == 'pending' then pending = pending + 1 end
    if r and r[F.wish] ~= ARGV[4] and stop_run(ids[i], ARGV[4], ARGV[5]) then stopped = stopped + 1 end
  end
end
if ARGV[2] == '' then
  wish_stopped(ARGV[3])
  stop_each(runs_of(ARGV[3]))
else
  local at = P .. ':ix:t:' .. ARGV[2]
  local running = redis.call('ZRANGE', at .. ':running:created', 0, -1)
  local waiting = redis.call('ZRANGE', at .. ':pending:created', 0, 499)
  for _, x in ipairs(redis.call('SMEMBERS', P .. ':plans:' .. ARGV[2])) do
    wish_stopped(x)
    stop_each(runs_of(x))
  end
  stop_each(waiting)
  stop_each(running)
end
local answer = {stopped, pending}
tell_ready(answer)
return answer
