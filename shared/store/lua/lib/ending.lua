-- The end of a run: `finish` changes the record, then `run_left` continues or finishes its execution.
-- uses: clock events execution groups on_run_ended plan records retries
local function finish(id, r, reason, code, message, at)   -- at: when it ended, if that was before NOW
  if r[F.status] == S.pending then   -- first the commands that fail if a key that all runs share was overwritten
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

local function run_left(id, r)
  local x = execution_of(id, r)
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then return end
  if (r[F.step] or -1) >= 0 and not is_retried[id] then record_step_result(x, id, r) end
  runs_left(x, 1)
end
