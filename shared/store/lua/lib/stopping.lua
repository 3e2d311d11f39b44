-- A wish to stop one run: a waiting one ends at once, a running one is asked through its worker.
-- wish: 'stop' | 'kill'. Answers true when the run was live.
local function stop_run(id, wish, message)
  local r = load(id)
  if not r or r[F.status] == 'ended' then return false end
  if r[F.status] == 'pending' then
    finish(id, r, 'stopped', -1, message)
    leave(id, r)
    return true
  end
  if r[F.wish] ~= 'kill' and r[F.wish] ~= wish then
    r[F.wish] = wish
    r[F.message] = message
    save(id, r)
    event('run.stop_requested', r[F.task], id, execution_of(id, r))
  end
  redis.call('LPUSH', P .. ':wake:' .. r[F.worker], '')
  redis.call('LTRIM', P .. ':wake:' .. r[F.worker], 0, 0)
  redis.call('PEXPIRE', P .. ':wake:' .. r[F.worker], 60000)
  return true
end

local function stop_execution(x, wish, message)
  local ids, stopped = runs_of(x), 0
  for i = #ids, 1, -1 do
    if stop_run(ids[i], wish, message) then stopped = stopped + 1 end
  end
  return stopped
end
