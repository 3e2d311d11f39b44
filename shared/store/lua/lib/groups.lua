-- Groups of an execution's plan: each begins when no run of the one before is live.
-- uses: clock events gates ids new_runs plan queues remaining_runs

-- Creates one ended record in place of the runs of step i from number `from` on, which are never created.
local function end_unmade(x, i, step, from, reason, why)
  local r = step[1]
  r[F.status], r[F.reason], r[F.exit_code], r[F.message], r[F.end_us] = S.ended, reason, -1, why, NOW
  local id = make_runs(x, text_of(x), r, from, 1, step[5], true, ids_of_step(x, i))[1]
  redis.pcall('SADD', P .. ':prune-candidates', r[F.task])
  event('run.ended', r[F.task], id, x, reason)
  return id
end

local function skip_group(x, group, why)
  for _, i in ipairs(steps_in(x, group)) do
    local step = step_of(x, i)
    step[1][F.due_us] = 0
    redis.call('HSET', P .. ':plan:' .. x, 'ended:' .. i, R.skipped)
    end_unmade(x, i, step, 0, R.skipped, why)
  end
end

-- Creates the runs of a group. Answers how many it has, with those left to create.
local function make_group(x, group)
  local live, room = 0, AT_ONCE
  for _, i in ipairs(steps_in(x, group)) do
    local step = step_of(x, i)
    local r, all = step[1], step[2]
    local n = math.min(all, room_for(r, room))
    r[F.due_us] = 0
    local counted, last = pcall(take_numbers, r[F.task], n)
    if not counted then n = 0 end   -- overwritten: the scheduler creates them later
    if n > 0 then
      local made = make_runs(x, text_of(x), r, 0, n, step[5], true, ids_of_step(x, i), last)
      event('run.created', r[F.task], made[1], x, text(n))
      for _, id in ipairs(made) do make_ready(id, r) end
    end
    live, room = live + all, room_after(r, n, room)
    if n < all then leave_rest(x, i, n, all - n) end
  end
  return live
end

-- Creates the next group, or skips all later steps with a reason. Answers whether there is something to run.
local function start_next_group(x)
  local at = P .. ':plan:' .. x
  local group, groups, reason, failure, desired =
    unpack(redis.call('HMGET', at, 'at', 'groups', 'reason', 'failure', 'desired'))
  group, groups = tonumber(group), tonumber(groups)
  if not group or group + 1 >= groups then return false end
  local why = reason and 'skipped: ' .. failure or desired and 'skipped: the execution was stopped'
  redis.call('HINCRBY', at, 'version', 1)
  if why then
    for later = group + 1, groups - 1 do skip_group(x, later, why) end
    redis.call('HSET', at, 'at', groups - 1)
    if not reason then redis.call('HSET', at, 'reason', R.stopped, 'failure', 'it was stopped') end
    return false
  end
  local live = make_group(x, group + 1)
  redis.call('HSET', at, 'at', group + 1)
  redis.call('HSET', P .. ':exec:' .. x, 'live', live)
  make_rest_soon(x)
  return true
end

local function finish_execution(x)
  local gates, was = gates_of(x), redis.call('HMGET', P .. ':exec:' .. x, 'task', 'stop_left')
  local task = was[1]
  if was[2] then redis.pcall('ZREM', P .. ':stopping', x) end   -- stop_more takes it out otherwise
  redis.call('DEL', P .. ':exec:' .. x)
  if redis.call('EXISTS', P .. ':plan:' .. x) == 1 then
    redis.call('HSET', P .. ':plan:' .. x, 'over', text(NOW))
    redis.call('SREM', P .. ':plans:' .. task, x)
  end
  for _, gate in ipairs(gates) do
    redis.call('ZREM', P .. ':limit:' .. gate[1] .. ':holders', x)
    redis.call('ZREM', P .. ':limit:' .. gate[1] .. ':waiters', x)
  end
  event('execution.ended', task, '', x)
  for _, gate in ipairs(gates) do admit(gate[1]) end
end

-- Counts n runs as no longer live, and starts the next group or finishes the execution when none is.
local function runs_left(x, n)
  if redis.call('HINCRBY', P .. ':exec:' .. x, 'live', -n) <= 0 and not start_next_group(x) then finish_execution(x) end
end

-- Drops the execution's runs that are left to create (those of one task, if it is given), with one record per step that
-- says why. Callers end the created runs after this, so that the last of them finishes the execution.
local function drop_rest(x, reason, why, of_task)
  local at, dropped = P .. ':plan:' .. x, 0
  if not redis.call('HGET', at, 'rest') then return end
  for _, i in ipairs(steps_in(x, redis.call('HGET', at, 'at'))) do
    local from = tonumber(redis.call('HGET', at, 'rest:' .. i))
    local step = from and step_of(x, i)
    if step and (not of_task or step[1][F.task] == of_task) then
      local left = step[2] - from
      local id = end_unmade(x, i, step, from, reason, why .. ' (' .. text(left) .. ' runs were not made yet)')
      record_step_result(x, id, step[1])
      redis.call('HDEL', at, 'rest:' .. i)
      dropped = dropped + left
    end
  end
  if dropped == 0 then return end
  if redis.call('HINCRBY', at, 'rest', -dropped) <= 0 then rest_is_over(x) end
  redis.call('HINCRBY', at, 'version', 1)
  runs_left(x, dropped)
end
