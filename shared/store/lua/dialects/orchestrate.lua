-- Takes an execution to the state that an outside orchestrator decided on, unless it has changed since it was read.
-- ARGV: 1 now  2 execution  3 its newest run, as read  4 the run that takes slots
--       5 the run that is opened, if one is (packed, lib/retries.lua)  6 value for the cache
--       7 options (msgpack): state_tag (of the newest run, as read), steps, at_us (when that was, 0: now),
--         limits (a slot of each is taken), force, lease_us, for_consumer (it waits for one), consumer (that has it,
--         or ''), cache_key ('': none), cache_us (how long it is kept)
--       8… metadata of its first run (lib/metadata.lua)
-- steps: {'start'}, {'close', reason, exit code, message, whether another run is opened}, {'open'}, {'due', due_us}
-- A state tag is the run's status or end reason, and '!' when it was asked to stop.
-- Answers {'done' | 'conflict' | 'gone' | 'waiting' (an overlap rule holds it back) | 'full' | 'closed' (a limit is 0),
-- newest run, record or '', limit or '', since when its oldest slot is held or '', ready queue, runs…}.
-- transitions: orchestrate retry create skip
-- flags: allow-oom
-- uses: clock ending events external_queue gates metadata queues records retries slots texts
local x, expected_head, holder, next_run, cached = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local o, metadata = cmsgpack.unpack(ARGV[7]), metadata_from(8)
local head = redis.call('LRANGE', P .. ':exec-runs:' .. x, -1, -1)[1] or x
local r = load(head)
local function answer(verdict, limit, since)
  local reply = {verdict, head, whole(redis.call('GET', P .. ':run:' .. head)) or '', limit or '', since or ''}
  add_ready(reply)
  return reply
end
if not r then return answer('gone') end
if not metadata_fits(metadata) then return answer(guard_is_written(metadata) and 'done' or 'conflict') end
local state_tag = state_of(r) .. (r[F.status] == S.running and r[F.stop_request] ~= '' and '!' or '')
if head ~= expected_head or state_tag ~= o.state_tag then return answer('conflict') end
end_lapsed_leases()
local slots, refusal, limit, since = slots_to_take(o.limits, holder)
if refusal then return answer(refusal, limit, since) end
local held = redis.call('HGET', P .. ':exec:' .. x, 'state')
if #o.steps > 0 and o.steps[1][1] == 'start' and not o.force
  and (held == 'waiting' or (held == 'delayed' and #gates_of(x) > 0)) then
  return answer('waiting')
end
local at_us = math.min(NOW, math.max(r[F.created_us], o.at_us > 0 and o.at_us or NOW))
local function open(prepared)
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then
    redis.call('HSET', P .. ':exec:' .. x, 'task', r[F.task], 'live', 0, 'state', 'started', 'gates', cmsgpack.pack({}),
      'overlap', 'queue', 'max_queued', 0)
  end
  retry(head, r, next_run, prepared or prepare_retry(head, r, next_run))
  head = string.sub(next_run, 1, 16)
  r = load(head)
end
local does = {}
function does.start()
  if redis.call('HGET', P .. ':exec:' .. x, 'state') == 'delayed' then start_execution(x) end
  redis.call('ZREM', P .. ':due', head)
  unindex(head, r)
  r[F.status], r[F.start_us] = S.running, math.max(at_us, r[F.created_us])
  index(head, r)
  save(head, r)
  event('run.started', r[F.task], head, x, o.consumer)
end
function does.close(step)
  local prepared = step[5] and prepare_retry(head, r, next_run)
  finish(head, r, step[2], step[3], step[4], math.max(at_us, r[F.start_us]))
  local ended, record = head, r
  if step[5] then open(prepared) end
  run_left(ended, record)
end
function does.open() open() end
function does.due(step)
  redis.call('ZREM', P .. ':due', head)
  r[F.due_us] = step[2]
  save(head, r)
  if held == 'delayed' or (held == 'started' and step[2] > NOW) then schedule_at(head, step[2]) end
end
for _, step in ipairs(o.steps) do does[step[1]](step) end
for _, at in ipairs(slots) do redis.call('ZADD', at, NOW, holder) end
if r[F.status] ~= S.ended then
  give_to_consumer(x, head, r, o.consumer, o.for_consumer)
  if r[F.status] == S.running and o.lease_us > 0 then redis.call('ZADD', P .. ':leases', NOW + o.lease_us, head) end
end
if o.cache_key ~= '' then
  redis.call('SET', P .. ':cached:' .. o.cache_key, cached, 'PX', math.ceil(o.cache_us / 1000))
end
write_metadata(metadata)
return answer('done')
