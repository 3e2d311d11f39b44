-- A wish to stop one run: a waiting one ends at once, a running one is asked through its worker. Of one that others
-- execute nobody here hears, unless it is reported on time: then it is asked by the answers; otherwise it ends at once.
-- wish: 'stop' | 'kill'. Answers true when the run was live.
local function stop_run(id, wish, message)
  local r = load(id)
  if not r or r[F.status] == 'ended' then return false end
  local unheard = r[F.external] == 1 and (wish == 'kill' or not redis.call('ZSCORE', P .. ':leases', id))
  if r[F.status] == 'pending' or unheard then
    finish(id, r, 'stopped', r[F.status] == 'pending' and -1 or -2, message)
    leave(id, r)
    return true
  end
  if r[F.wish] ~= 'kill' and r[F.wish] ~= wish then
    r[F.wish] = wish
    r[F.message] = message
    save(id, r)
    bump(id, r)
    event('run.stop_requested', r[F.task], id, execution_of(id, r))
  end
  if r[F.external] == 1 then return true end
  redis.call('LPUSH', P .. ':wake:' .. r[F.worker], '')
  redis.call('LTRIM', P .. ':wake:' .. r[F.worker], 0, 0)
  redis.call('PEXPIRE', P .. ':wake:' .. r[F.worker], 60000)
  return true
end

-- No later group of the execution begins, also when all that runs now ends well.
local function wish_stopped(x, why)
  local plan = P .. ':plan:' .. x
  if redis.call('EXISTS', P .. ':exec:' .. x) == 1 and redis.call('EXISTS', plan) == 1
    and redis.call('HSET', plan, 'desired', 'stopped') == 1 then
    redis.call('HINCRBY', plan, 'version', 1)
  end
  drop_rest(x, 'stopped', why)
end

local function stop_execution(x, wish, message)
  wish_stopped(x, message)
  local ids, stopped = runs_of(x), 0
  for i = #ids, 1, -1 do
    if stop_run(ids[i], wish, message) then stopped = stopped + 1 end
  end
  return stopped
end
