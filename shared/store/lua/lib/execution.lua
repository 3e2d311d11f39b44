-- Live executions: hash `exec:<id>` with task, live (runs not ended), state (delayed, waiting, started), gates
-- (lib/gates.lua), overlap, max_queued. If it has more than one run, list `exec-runs:<id>` names them all.
-- uses: clock ids
local function execution_of(id, r) return r[F.execution] == '' and id or bytes_of(r[F.execution]) end

-- The task that a run's execution was started for.
local function target_of(r) return (r[F.target] or '') ~= '' and r[F.target] or r[F.task] end

local function runs_of(x)
  local ids = redis.call('LRANGE', P .. ':exec-runs:' .. x, 0, -1)
  if #ids == 0 then return {x} end
  return ids
end

-- Increments the version of a run's execution, if it has a plan.
local function count_change(id, r, started)
  if (r[F.step] or -1) < 0 then return end
  local at = P .. ':plan:' .. execution_of(id, r)
  redis.call('HINCRBY', at, 'version', 1)
  if started then redis.call('HSETNX', at, 'start', text(r[F.start_us])) end
end
