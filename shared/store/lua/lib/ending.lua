-- How a run ends, whoever ends it. `finish` moves the record; `run_left` lets its execution go on or be over.
-- uses: clock events execution on_run_ended plan records remaining_runs
local function finish(id, r, reason, code, message, at)   -- at: when it ended, if that was before NOW
  if r[F.status] == S.pending then   -- first what may fail because of what somebody else wrote to a key of all runs
    redis.call('ZREM', P .. ':due', id)
    redis.call('ZREM', P .. ':queue:' .. r[F.queue], id)
  else
    redis.call('ZREM', P .. ':leases', id)
  end
  unindex(id, r)
  r[F.status], r[F.reason], r[F.exit_code], r[F.message], r[F.end_us] = S.ended, reason, code, message, at or NOW
  index(id, r)
  save(id, r)
  if r[F.log_lines] > 0 then redis.pcall('ZADD', P .. ':compact', NOW, id) end
  redis.pcall('SADD', P .. ':prune-candidates', r[F.task])
  redis.call('PUBLISH', P .. ':channel:log:' .. id, '')
  on_run_ended(id, r)
  count_change(id, r)
  event('run.ended', r[F.task], id, execution_of(id, r), reason)
end

-- Makes no more runs of the execution (of that task, if one is given): one record a step says why. Before the runs that were
-- made are ended, so that these tell when it is over.
local function drop_rest(x, reason, why, of_task)
  local at = P .. ':plan:' .. x
  local left = tonumber(redis.call('HGET', at, 'rest'))
  if not left then return end
  local dropped = 0
  for _, i in ipairs(cmsgpack.unpack(redis.call('HGET', at, 'group:' .. redis.call('HGET', at, 'at')))) do
    local from = tonumber(redis.call('HGET', at, 'rest:' .. i))
    local step = from and cmsgpack.unpack(redis.call('HGET', at, 'step:' .. i))
    if step and (not of_task or step[1][F.task] == of_task) then
      local r = step[1]
      r[F.status], r[F.reason], r[F.exit_code], r[F.end_us] = S.ended, reason, -1, NOW
      r[F.message] = why .. ' (' .. text(step[2] - from) .. ' runs were not made yet)'
      local made = make_runs(x, text_of(x), r, from, 1, step[5], true, function(j) return id_for(x .. i .. ':' .. j) end)
      redis.pcall('SADD', P .. ':prune-candidates', r[F.task])
      record_step_result(x, made[1], r)
      event('run.ended', r[F.task], made[1], x, reason)
      redis.call('HDEL', at, 'rest:' .. i)
      dropped = dropped + step[2] - from
    end
  end
  if dropped == 0 then return end
  if redis.call('HINCRBY', at, 'rest', -dropped) <= 0 then rest_is_over(x) end
  redis.call('HINCRBY', at, 'version', 1)
  if redis.call('HINCRBY', P .. ':exec:' .. x, 'live', -dropped) <= 0 and not start_next_group(x) then finish_execution(x) end
end

local owed = {}   -- runs whose retry was made: they are not how it ended

local function run_left(id, r)
  local x = execution_of(id, r)
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then return end
  if (r[F.step] or -1) >= 0 and not owed[id] then record_step_result(x, id, r) end
  if redis.call('HINCRBY', P .. ':exec:' .. x, 'live', -1) <= 0 and not start_next_group(x) then finish_execution(x) end
end

-- What a retry needs of the keys of all runs, before the run that owes it is ended: it fails when somebody else wrote to one.
-- Answers nil when none is to be made.
local function prepare_retry(id, r, packed)
  local x = execution_of(id, r)
  -- What it was handed is lost with its plan (restore.lua): without that it would do something else.
  if (r[F.needs] or 0) > 0 and redis.call('EXISTS', P .. ':plan:' .. x) == 0 then return nil end
  owed[id] = true
  if redis.call('EXISTS', P .. ':run:' .. string.sub(packed, 1, 16)) == 1 then return nil end
  local wanted = cmsgpack.unpack(string.sub(packed, 17))
  return {wanted = wanted, first = wanted[1] > 0 and first_due() or nil, number = take_numbers(r[F.task], 1)}
end

-- prepared: what prepare_retry answered, or nil. packed: its id (16 bytes), then msgpack {delay_us, attempt, crashes, reruns, execution, retry_of}. The retry is a copy of the record as it was created, one attempt on.
local function retry(id, r, packed, prepared)
  if not prepared then return end
  local wanted, x = prepared.wanted, execution_of(id, r)
  local next_id, n = string.sub(packed, 1, 16), load(id)
  n[F.status], n[F.reason], n[F.exit_code], n[F.message] = S.pending, '', 0, ''
  n[F.created_us], n[F.start_us], n[F.end_us], n[F.due_us] = NOW, 0, 0, NOW + wanted[1]
  n[F.attempt], n[F.crashes], n[F.reruns] = wanted[2], wanted[3], wanted[4]
  n[F.execution], n[F.retry_of] = wanted[5], wanted[6]
  n[F.number] = prepared.number
  n[F.worker], n[F.token], n[F.stop_request], n[F.outputs] = '', 0, '', ''
  n[F.log_bytes], n[F.log_lines], n[F.log_truncated], n[F.log_first] = 0, 0, 0, 0
  n[F.peak_memory], n[F.cpu_ms] = 0, 0
  if redis.call('EXISTS', P .. ':exec-runs:' .. x) == 0 then redis.call('RPUSH', P .. ':exec-runs:' .. x, x) end
  redis.call('RPUSH', P .. ':exec-runs:' .. x, next_id)
  redis.call('HINCRBY', P .. ':exec:' .. x, 'live', 1)
  redis.call('HINCRBY', P .. ':def:' .. n[F.definition], 'refs', 1)
  if n[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. n[F.external_id], next_id) end
  save(next_id, n)
  unlist(id, r)
  index(next_id, n)
  make_ready(next_id, n, prepared.first)
  event('run.created', n[F.task], next_id, x)
end
