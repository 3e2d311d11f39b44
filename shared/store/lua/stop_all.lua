-- Stops live runs of a task, or of one execution, of which nothing begins any more then: at most 100 waiting ones a call,
-- so that nobody waits for it long.
-- ARGV: 1 now  2 task ('' for an execution)  3 execution id  4 wish  5 message  6 what the call before left, at first ''
-- Answers {number of runs stopped or asked, what is left: call again until 0, ready queue, runs…}.
-- flags: allow-oom
-- uses: clock records events making execution plan ending stopping
local BATCH = 100
local x, stopped, left = ARGV[3], 0, 0
local function stop_each(ids)
  for i = #ids, 1, -1 do
    local r = load(ids[i])
    if r and r[F.wish] ~= ARGV[4] and stop_run(ids[i], ARGV[4], ARGV[5]) then stopped = stopped + 1 end
  end
end
if ARGV[2] == '' then
  wish_stopped(x, ARGV[5])
  local listed = P .. ':exec-runs:' .. x
  local upto = tonumber(ARGV[6]) or redis.call('LLEN', listed)   -- from the newest to the oldest
  left = math.max(0, upto - BATCH)
  stop_each(upto > 0 and redis.call('LRANGE', listed, left, upto - 1) or {x})
else
  for _, unmade in ipairs(redis.call('ZRANGE', P .. ':making', 0, BATCH - 1)) do
    drop_rest(unmade, 'stopped', ARGV[5], ARGV[2])
  end
  local at = P .. ':ix:t:' .. ARGV[2]
  local running = redis.call('ZRANGE', at .. ':running:created', 0, -1)
  local waiting = redis.call('ZRANGE', at .. ':pending:created', 0, BATCH - 1)
  left = #waiting
  stop_each(waiting)
  stop_each(running)
end
local answer = {stopped, left}
tell_ready(answer)
return answer
