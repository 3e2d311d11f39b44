-- Stops live runs of a task, or of one execution: all running ones, at most 500 waiting ones a call.
-- ARGV: 1 now  2 task ('' for an execution)  3 execution id  4 wish  5 message
-- Answers {number of runs stopped or asked, pending ones seen: call again until 0, ready queue, runs…}.
-- flags: allow-oom
-- uses: clock records events execution ending stopping
local ids = {}
if ARGV[2] == '' then
  ids = runs_of(ARGV[3])
else
  local at = P .. ':ix:t:' .. ARGV[2]
  for _, id in ipairs(redis.call('ZRANGE', at .. ':running:created', 0, -1)) do ids[#ids + 1] = id end
  for _, id in ipairs(redis.call('ZRANGE', at .. ':pending:created', 0, 499)) do ids[#ids + 1] = id end
end
local stopped, pending = 0, 0
for i = #ids, 1, -1 do
  local r = load(ids[i])
  if r and r[F.status] == 'pending' then pending = pending + 1 end
  if r and r[F.wish] ~= ARGV[4] and stop_run(ids[i], ARGV[4], ARGV[5]) then stopped = stopped + 1 end
end
local answer = {stopped, pending}
tell_ready(answer)
return answer
