-- The overlap rule for execution x about to start. Answers nil (goes through), 'wait', or the sentence of a refusal.
-- Under `kill` the oldest executions too many are asked to stop; x waits until they are gone.

-- Who is in the way, for people: the run that an execution began with may be over, or of another task.
local function in_the_way(x, task)
  local r = x and load(x)
  if not r then return task end
  local started = redis.call('HGET', P .. ':exec:' .. x, 'task') or task
  if r[F.task] == started and r[F.status] ~= 'ended' then return name_of(r) end
  return 'the execution of ' .. started .. ' that began with ' .. name_of(r)
end

local function decide(task, gates, policy, max_queued)
  local full, own = false, nil
  for _, gate in ipairs(gates) do
    local at = P .. ':gate:' .. gate[1]
    local live, waiting = taken_at(gate), redis.call('ZCARD', at .. ':wait')
    if live >= gate_max(gate) or waiting > 0 then
      full = true
      if gate[1] == 'task:' .. task then own = {at, gate_max(gate), live, waiting} end
    end
  end
  if not full then return nil end
  if not own then return 'wait' end
  if policy == 'skip' then
    local oldest = redis.call('ZRANGE', own[1] .. ':live', 0, 0)[1] or redis.call('ZRANGE', own[1] .. ':wait', 0, 0)[1]
    return 'skipped: ' .. in_the_way(oldest, task) .. ' was still running'
  end
  if policy == 'queue' and own[4] >= max_queued then
    return 'skipped: ' .. own[4] .. ' executions of ' .. task .. ' were waiting already (max_queued = ' .. max_queued .. ')'
  end
  return 'wait'
end

local function wait(x, task, gates, policy)
  local arrival = redis.call('INCR', P .. ':counter')
  for _, gate in ipairs(gates) do redis.call('ZADD', P .. ':gate:' .. gate[1] .. ':wait', arrival, x) end
  redis.call('HSET', P .. ':exec:' .. x, 'state', 'waiting')
  if policy ~= 'kill' then return end
  for _, gate in ipairs(gates) do
    if gate[1] == 'task:' .. task then
      local at = P .. ':gate:' .. gate[1]
      local live = redis.call('ZRANGE', at .. ':live', 0, -1)
      local waiting = redis.call('ZRANGE', at .. ':wait', 0, -1)
      local excess = #live + #waiting - gate_max(gate)
      for i = math.min(excess - #live, #waiting - 1), 1, -1 do
        stop_execution(waiting[i], 'stop', 'stopped: a newer trigger of ' .. task .. ' took its place')
      end
      for i = 1, math.min(excess, #live) do
        stop_execution(live[i], 'stop', 'stopped: a newer trigger of ' .. task .. ' took its place')
      end
    end
  end
end
