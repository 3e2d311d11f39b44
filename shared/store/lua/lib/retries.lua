-- Retries. packed: the retry's id (16 bytes), then msgpack {delay_us, attempt, crashes, reruns, execution, retry_of}.
-- uses: clock definitions events execution new_runs queues records
local is_retried = {}   -- runs that have a retry: their ends do not count for their step

-- Reads and writes the shared keys that a retry needs. It comes before the end of its run is written, because it fails
-- when one of them was overwritten. Answers nil when there is to be no retry.
local function prepare_retry(id, r, packed)
  local x = execution_of(id, r)
  -- Its inputs are lost with its plan (restore.lua), and it must not run without them.
  if (r[F.needs] or 0) > 0 and redis.call('EXISTS', P .. ':plan:' .. x) == 0 then return nil end
  is_retried[id] = true
  if redis.call('EXISTS', P .. ':run:' .. string.sub(packed, 1, 16)) == 1 then return nil end
  local wanted = cmsgpack.unpack(string.sub(packed, 17))
  return {wanted = wanted, first = wanted[1] > 0 and first_due() or nil, number = take_numbers(r[F.task], 1)}
end

-- prepared: the answer of prepare_retry. The retry is a copy of the record as it was created, one attempt on.
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
  ref_definition(n[F.definition], 1)
  if n[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. n[F.external_id], next_id) end
  save(next_id, n)
  unlist(id, r)
  index(next_id, n)
  make_ready(next_id, n, prepared.first)
  event('run.created', n[F.task], next_id, x)
end
