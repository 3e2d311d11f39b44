-- Makes all runs of an execution's group in one step, with the overlap decision; or one skipped record when it is refused.
-- ARGV: 1 now  2 template (msgpack Record)  3 ids of its runs (16 bytes each; the first names the execution)
--       4 its id as text
--       5 options (msgpack): gates, overlap, max_queued, delay_us, tick_us, after, idempotency_key, digest, refuse, known, dedupe_key, for_consumer, most_pending,
--          plan (steps as in lib/plan.lua, whose first group is made, or false),
--          wakeups (message id and message each, for the run's queue), most_wakeups
--       6… metadata of the first run (lib/metadata.lua)
-- Answers {'created' | 'exists' | 'repeated', id, record, ready queue, runs…}, {'definition_changed'}, {'mismatch'}, {'stale'}, {'paused'},
-- {'quota', pending runs of the task}.
-- transitions: create skip stop request_stop
-- uses: clock events gates metadata new_runs on_execution_created overlap plan queues remaining_runs shared_texts texts wakeups
local r, ids, x_text, o = cmsgpack.unpack(ARGV[2]), ARGV[3], ARGV[4], cmsgpack.unpack(ARGV[5])
local n, x, task = #ids / 16, string.sub(ids, 1, 16), r[F.task]
if o.idempotency_key ~= '' then
  local before = redis.call('HMGET', P .. ':idempotency:' .. o.idempotency_key, 'run', 'digest')
  if before[1] then
    if before[2] ~= o.digest then return {'mismatch'} end
    return {'repeated', before[1], whole(redis.call('GET', P .. ':run:' .. before[1]))}
  end
end
local known_as = o.dedupe_key ~= '' and redis.call('GET', P .. ':dedupe:' .. o.dedupe_key)
if known_as then return {'exists', known_as, whole(redis.call('GET', P .. ':run:' .. known_as))} end
local existing = redis.call('GET', P .. ':run:' .. x)
if existing then return {'exists', x, whole(existing)} end
for _, step in ipairs(not o.known and {} or o.plan or {{r}}) do
  local entry = redis.call('HGET', P .. ':tasks', step[1][F.task])
  if not entry or cmsgpack.unpack(entry)[1] ~= step[1][F.definition] then return {'definition_changed'} end
end
if o.most_pending > 0 then
  local pending = redis.call('ZCARD', P .. ':ix:t:' .. task .. ':' .. S.pending .. ':created')
  if pending + n > o.most_pending then return {'quota', pending} end
end
if o.tick_us > 0 then
  local seen_to = tonumber(redis.call('HGET', P .. ':ticks', task)) or 0
  -- Further ahead than 10 s is of a time before the clock went back, and says nothing.
  if seen_to <= NOW + 10000000 then
    if seen_to >= o.tick_us or (o.after > 0 and seen_to > 0 and seen_to ~= o.after) then return {'stale'} end
  end
  if redis.call('SISMEMBER', P .. ':paused', task) == 1 then
    redis.call('HSET', P .. ':ticks', task, text(o.tick_us))
    return {'paused'}
  end
end
if o.delay_us > 0 then r[F.due_us] = NOW + o.delay_us end
local delayed = r[F.due_us] > NOW
local verdict = o.refuse ~= '' and o.refuse or nil
if not verdict and not delayed then verdict = decide(task, o.gates, o.overlap, o.max_queued) end
local refused = verdict and verdict ~= 'wait'
if refused then n = 1 end
r[F.created_us], r[F.execution] = NOW, ''
local steps = o.plan or {{r, n, {}, 0, {}, {}}}
local has_plan = not refused and (o.plan or n > 1)
-- First what fails when somebody else wrote to a key of all runs: Redis rolls nothing back.
-- Only then is the tick done.
local first, last = delayed and not refused and first_due() or nil, nil
if has_plan then
  redis.call('HLEN', P .. ':numbers')
  redis.call('ZCARD', P .. ':making')
else
  last = take_numbers(task, 1)
end
redis.call('ZADD', P .. ':executions:all', NOW, x)
if o.tick_us > 0 then redis.call('HSET', P .. ':ticks', task, text(o.tick_us)) end
if refused then
  r[F.status], r[F.reason], r[F.exit_code], r[F.message], r[F.end_us] = S.ended, R.skipped, -1, verdict, NOW
  redis.pcall('SADD', P .. ':prune-candidates', task)
  steps = {{r, 1, {}, 0, {}, {}}}
else
  redis.call('HSET', P .. ':exec:' .. x, 'task', task, 'live', n, 'state', 'delayed',
    'gates', cmsgpack.pack(o.gates), 'overlap', o.overlap, 'max_queued', o.max_queued)
end
share_texts(x, r)
if has_plan then
  if not o.plan then r[F.step] = 0 end
  for _, step in ipairs(steps) do
    share_texts(x, step[1])
    if step[4] == 0 then step[1][F.due_us] = r[F.due_us] end
  end
  keep_plan(x, task, steps)
end
redis.call('ZADD', P .. ':executions:t:' .. task, NOW, x)
local taken, room = 0, AT_ONCE
for number, step in ipairs(steps) do
  local one, from = step[1], taken
  if step[4] == 0 then
    local count = 1
    if n > 1 then
      count = math.min(step[2], room_for(one, room))
      room = room_after(one, count, room)
    end
    taken = taken + step[2]
    if count < step[2] then leave_rest(x, number - 1, count, step[2] - count) end
    local made = make_runs(x, x_text, one, 0, count, step[5], has_plan, function(i)
      return string.sub(ids, (from + i) * 16 + 1, (from + i) * 16 + 16)
    end, last)
    for _, id in ipairs(delayed and not refused and made or {}) do schedule_at(id, r[F.due_us], first) end
  end
end
event(refused and 'run.ended' or 'run.created', task, x, x, refused and R.skipped or tostring(n))
local metadata = metadata_from(6)
if metadata then write_metadata(metadata) end
if o.dedupe_key ~= '' then
  redis.call('SET', P .. ':dedupe:' .. o.dedupe_key, x)
  redis.call('HSET', P .. ':meta:' .. x, 'dedupe_key', o.dedupe_key)
end
if not refused then on_execution_created(x, r, o) end
if o.idempotency_key ~= '' then
  redis.call('HSET', P .. ':idempotency:' .. o.idempotency_key, 'run', x, 'digest', o.digest)
  redis.call('EXPIRE', P .. ':idempotency:' .. o.idempotency_key, 86400)
end
if verdict == 'wait' then wait_at_gates(x, task, o.gates, o.overlap) elseif not refused and not delayed then start_execution(x) end
for _, wakeup in ipairs(ready[r[F.queue]] and o.wakeups or {}) do wake_queue(o.most_wakeups, r[F.queue], wakeup[1], wakeup[2]) end
if #o.wakeups > 0 then ready[r[F.queue]] = nil end   -- they are woken; the others are for the caller to wake
local made = redis.call('GET', P .. ':run:' .. x)
local answer = {'created', x, references and whole(made) or made}
add_ready(answer)
return answer
