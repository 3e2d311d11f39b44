-- Creates the runs of an execution's first group in one step and applies the overlap rule, or records a skipped run.
-- ARGV: 1 now  2 template (msgpack Record)  3 ids of its runs (16 bytes each; the first names the execution)
--       4 its id as text  5 options, see below  6… metadata of the first run (lib/metadata.lua)
-- options (msgpack): gates, overlap, max_queued, delay_us, tick_us, after (the tick before), idempotency_key, digest,
--   refuse (why it is skipped, or ''), known (its definition must be the catalog's), dedupe_key, for_consumer,
--   most_pending, plan (steps as in lib/plan.lua, whose first group is created, or false),
--   wakeups (message id and message each, for the run's queue), most_wakeups
-- Answers {'created' | 'exists' | 'repeated', id, record, ready queue, runs…}, {'definition_changed'}, {'mismatch'},
-- {'stale'}, {'paused'}, {'quota', pending runs of the task}.
-- transitions: create skip stop request_stop
-- uses: clock creation events gates metadata new_runs on_execution_created overlap plan queues shared_texts texts wakeups
local r, ids, x_text, o = cmsgpack.unpack(ARGV[2]), ARGV[3], ARGV[4], cmsgpack.unpack(ARGV[5])
local metadata = metadata_from(6)
local n, x, task = #ids / 16, string.sub(ids, 1, 16), r[F.task]
local instead = made_before(x, o) or has_other_definition(r, o) or exceeds_quota(task, n, o) or misses_tick(task, o)
if instead then return instead end
if o.delay_us > 0 then r[F.due_us] = NOW + o.delay_us end
local delayed = r[F.due_us] > NOW
local verdict = o.refuse ~= '' and o.refuse or nil
if not verdict and not delayed then verdict = decide(task, o.gates, o.overlap, o.max_queued) end
local refused = verdict and verdict ~= 'wait'
if refused then n = 1 end
r[F.created_us], r[F.execution] = NOW, ''
local steps = o.plan or {{r, n, {}, 0, {}, {}}}
local has_plan = not refused and (o.plan or n > 1)
-- These commands fail when a key that all runs share was overwritten, so they come first: Redis rolls nothing back.
local first, last = delayed and not refused and first_due() or nil, nil
if has_plan then
  redis.call('HLEN', P .. ':numbers')
  redis.call('ZCARD', P .. ':incomplete')
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
local made = make_first_group(n, ids, x, x_text, steps, has_plan, last)
for _, id in ipairs(delayed and not refused and made or {}) do schedule_at(id, r[F.due_us], first) end
event(refused and 'run.ended' or 'run.created', task, x, x, refused and R.skipped or tostring(n))
if metadata then write_metadata(metadata) end
note_keys(x, o)
if not refused then on_execution_created(x, r, o) end
if verdict == 'wait' then
  wait_at_gates(x, task, o.gates, o.overlap)
elseif not refused and not delayed then
  start_execution(x)
end
for _, wakeup in ipairs(ready[r[F.queue]] and o.wakeups or {}) do
  wake_queue(o.most_wakeups, r[F.queue], wakeup[1], wakeup[2])
end
if #o.wakeups > 0 then ready[r[F.queue]] = nil end   -- its workers are woken; the caller wakes those of other queues
local record = redis.call('GET', P .. ':run:' .. x)
local answer = {'created', x, references and whole(record) or record}
add_ready(answer)
return answer
