-- Stops runs. A pending run ends at once, a running one is asked through its worker. An external run ends at once too,
-- unless its reports are due in time: then the answers to them ask it.
-- request: 'stop' | 'kill'. Answers true when the run was live.
-- uses: clock ending events execution groups records wakeups
local function stop_run(id, request, message)
  local r = load(id)
  if not r or r[F.status] == S.ended then return false end
  local unheard = r[F.external] == 1 and (request == 'kill' or not redis.call('ZSCORE', P .. ':leases', id))
  if r[F.status] == S.pending or unheard then
    finish(id, r, R.stopped, r[F.status] == S.pending and -1 or -2, message)
    run_left(id, r)
    return true
  end
  if r[F.stop_request] ~= 'kill' and r[F.stop_request] ~= request then
    r[F.stop_request] = request
    r[F.message] = message
    save(id, r)
    count_change(id, r)
    event('run.stop_requested', r[F.task], id, execution_of(id, r))
  end
  if r[F.external] == 1 then return true end
  wake_worker(r[F.worker])
  return true
end

-- Lets no later group of the execution begin, even if all its runs succeed.
local function no_more_groups(x, why)
  local plan = P .. ':plan:' .. x
  if redis.call('EXISTS', P .. ':exec:' .. x) == 1 and redis.call('EXISTS', plan) == 1
    and redis.call('HSET', plan, 'desired', R.stopped) == 1 then
    redis.call('HINCRBY', plan, 'version', 1)
  end
  drop_rest(x, R.stopped, why)
end

-- An execution with more runs than this is stopped in steps, so that other calls wait only briefly. Its hash has the
-- progress (stop_request, stop_why, stop_left: how many of its oldest runs are left, stop_did: how many this pass has
-- stopped); sorted set `stopping` has such executions by the time of the last step, 0 when the leader is to continue.
local MOST_STOPPED = 100
local may_look_at = MOST_STOPPED

-- Stops runs, the newest first. Answers how many were stopped, or asked for the first time.
local function stop_each(ids, request, message)
  local stopped = 0
  for i = #ids, 1, -1 do
    local r = load(ids[i])
    local is_new = r and r[F.stop_request] ~= request and r[F.stop_request] ~= 'kill'
    if is_new and stop_run(ids[i], request, message) then
      stopped = stopped + 1
    end
  end
  may_look_at = may_look_at - #ids
  return stopped
end

-- Does the next step. A pass that stopped any run is followed by another, for retries that were created meanwhile.
local function stop_more(x)
  local at, listed = P .. ':exec:' .. x, P .. ':exec-runs:' .. x
  local p = redis.call('HMGET', at, 'stop_request', 'stop_why', 'stop_left', 'stop_did')
  local left = tonumber(p[3])
  if not left then
    redis.call('ZREM', P .. ':stopping', x)
    return 0
  end
  local from = math.max(0, left - may_look_at)
  if from == left then return 0 end
  local stopped = stop_each(redis.call('LRANGE', listed, from, left - 1), p[1], p[2])
  if redis.call('EXISTS', at) == 0 then return stopped end   -- it is over now
  local did = tonumber(p[4]) + stopped
  if from == 0 and did == 0 then
    redis.call('HDEL', at, 'stop_request', 'stop_why', 'stop_left', 'stop_did')
    redis.call('ZREM', P .. ':stopping', x)
    return stopped
  end
  if from == 0 then from, did = redis.call('LLEN', listed), 0 end
  redis.call('HSET', at, 'stop_left', from, 'stop_did', did)
  if tonumber(redis.call('ZSCORE', P .. ':stopping', x)) > 0 then redis.call('ZADD', P .. ':stopping', NOW, x) end
  return stopped
end

-- Stops an execution, or does the first step. A caller that does not continue leaves the rest to the leader.
local function stop_execution(x, request, message, to_leader)
  local at, count = P .. ':exec:' .. x, redis.call('LLEN', P .. ':exec-runs:' .. x)
  no_more_groups(x, message)
  if count == 0 or count <= may_look_at then return stop_each(runs_of(x), request, message) end
  if redis.call('EXISTS', at) == 0 then return 0 end
  if redis.call('HGET', at, 'stop_request') == 'kill' then request = 'kill' end
  redis.call('ZADD', P .. ':stopping', to_leader and 0 or NOW, x)
  redis.call('HSET', at, 'stop_request', request, 'stop_why', message, 'stop_left', count, 'stop_did', 0)
  if to_leader then wake_scheduler() end
  return stop_more(x)
end
