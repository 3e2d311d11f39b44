-- The overlap rule for execution x about to start. Answers nil (it may start), 'wait', or the message of a refusal.
-- Under `kill` the oldest executions beyond the maximum are asked to stop, and x waits until they have ended.
-- uses: clock gates queues records stopping
local MOST_WAITING = 10000   -- executions for one shared limit, of all its tasks together

-- The name of the execution that blocks, for a message: its first run may have ended, or be of another task.
local function in_the_way(x, task)
  local r = x and load(x)
  if not r then return task end
  local started = redis.call('HGET', P .. ':exec:' .. x, 'task') or task
  if r[F.task] == started and r[F.status] ~= S.ended then return name_of(r) end
  return 'the execution of ' .. started .. ' that began with ' .. name_of(r)
end

local function decide(task, gates, policy, max_queued)
  local full, own, crowded = false, nil, nil
  for _, gate in ipairs(gates) do
    local at = P .. ':limit:' .. gate[1]
    local live, waiting = taken_at(gate), redis.call('ZCARD', at .. ':waiters')
    if live >= gate_max(gate) or waiting > 0 then
      full = true
      if gate[2] == 0 and waiting >= MOST_WAITING then crowded = string.sub(gate[1], #'shared:' + 1) end
      if gate[1] == 'task:' .. task then own = {at, gate_max(gate), live, waiting} end
    end
  end
  if not full then return nil end
  if crowded then
    return 'skipped: ' .. MOST_WAITING .. ' executions were waiting for the limit ' .. crowded .. ' already'
  end
  if not own then return 'wait' end
  if policy == 'skip' then
    local oldest = redis.call('ZRANGE', own[1] .. ':holders', 0, 0)[1]
      or redis.call('ZRANGE', own[1] .. ':waiters', 0, 0)[1]
    return 'skipped: ' .. in_the_way(oldest, task) .. ' was still running'
  end
  if policy == 'queue' and own[4] >= max_queued then
    return 'skipped: ' .. own[4] .. ' executions of ' .. task ..
      ' were waiting already (max_queued = ' .. max_queued .. ')'
  end
  return 'wait'
end

-- The executions, except x, that were started for the task itself and not for one that depends on it.
local function of_task(executions, task, x)
  local found = {}
  for _, each in ipairs(executions) do
    if each ~= x and redis.call('HGET', P .. ':exec:' .. each, 'task') == task then found[#found + 1] = each end
  end
  return found
end

local function wait_at_gates(x, task, gates, policy)
  local arrival = next_arrival()
  for _, gate in ipairs(gates) do redis.call('ZADD', P .. ':limit:' .. gate[1] .. ':waiters', arrival, x) end
  redis.call('HSET', P .. ':exec:' .. x, 'state', 'waiting')
  if policy ~= 'kill' then return end
  local gate = {'task:' .. task, 0}
  for _, each in ipairs(gates) do
    if each[1] == gate[1] then gate = each end
  end
  if gate[2] == 0 then return end
  local at, why = P .. ':limit:' .. gate[1], 'stopped: a newer trigger of ' .. task .. ' took its place'
  local live, waiting = redis.call('ZRANGE', at .. ':holders', 0, -1), redis.call('ZRANGE', at .. ':waiters', 0, -1)
  local excess = #live + #waiting - gate_max(gate)
  live, waiting = of_task(live, task), of_task(waiting, task, x)
  local stopped = math.min(excess, #live)
  for i = math.min(excess - stopped, #waiting), 1, -1 do stop_execution(waiting[i], 'stop', why, true) end
  for i = 1, stopped do stop_execution(live[i], 'stop', why, true) end
end
