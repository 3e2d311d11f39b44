-- Records a reported status of an external run: it is running (again, to renew its lease), or it ended.
-- ARGV: 1 now  2 run id  3 options (msgpack): target, sources, reason, exit_code, message, at_us, outputs, lease_us,
--         late_start, backdated, force
--       4 retry (lib/retries.lua) or ''  5… metadata (lib/metadata.lua)
-- Answers {'changed' | 'same' | 'refused' | 'conflict' | 'gone', state, record or '', stop_request, ready queue,
-- runs…}.
-- Its start and end are the times reported, as far as these lie between its creation (or, backdated, any time) and now.
-- transitions: report retry create skip
-- flags: allow-oom
-- uses: clock ending events execution gates metadata queues records retries texts
local id, o, packed_retry, metadata = ARGV[2], cmsgpack.unpack(ARGV[3]), ARGV[4], metadata_from(5)

local r = load(id)
if not r then return {'gone', 'gone', '', ''} end
local was = r[F.status]
local function answer(verdict, state)
  local record, request = redis.call('GET', P .. ':run:' .. id), was == S.ended and '' or r[F.stop_request]
  local reply = {verdict, state or state_of(r), whole(record), request}
  add_ready(reply)
  return reply
end
if metadata and not metadata_fits(metadata) then return answer('conflict') end
if r[F.external] == 0 then return answer('refused', 'owned') end
local allowed = false
for _, source in ipairs(o.sources) do allowed = allowed or source == was end
if allowed and was == S.pending and o.target == S.running and not o.force then
  local x = execution_of(id, r)
  local held = redis.call('HGET', P .. ':exec:' .. x, 'state')
  -- A due run may still have to pass its limits, in enqueue_due.
  if held == 'waiting' or r[F.due_us] > NOW or (held == 'delayed' and #gates_of(x) > 0) then
    return answer('refused', 'waiting')
  end
end
local at = math.min(NOW, math.max(o.backdated and 1 or r[F.created_us], o.at_us > 0 and o.at_us or NOW))
local function set_start(at_us)
  unindex(id, r)
  r[F.start_us] = at_us
  index(id, r)
  save(id, r)
end
local verdict = 'changed'
if allowed and o.target == S.running then
  redis.call('ZREM', P .. ':due', id)
  if o.lease_us > 0 then redis.call('ZADD', P .. ':leases', NOW + o.lease_us, id) end
  unindex(id, r)
  r[F.status], r[F.start_us] = o.target, at
  index(id, r)
  save(id, r)
  count_change(id, r, true)
  event('run.started', r[F.task], id, execution_of(id, r))
elseif allowed then
  if r[F.start_us] > at then at = r[F.start_us] end
  r[F.outputs] = o.outputs
  local stop_requested, message = r[F.stop_request] ~= '', o.message
  if o.reason == R.stopped and stop_requested then message = r[F.message] end
  local prepared = packed_retry ~= '' and not stop_requested and prepare_retry(id, r, packed_retry)
  finish(id, r, o.reason, o.exit_code, message, at)
  retry(id, r, packed_retry, prepared)
  run_left(id, r)
elseif was == o.target and (was == S.running or r[F.reason] == o.reason) then
  verdict = 'same'
  if was == S.running and o.at_us > 0 and at < r[F.start_us] then set_start(at) end   -- the earliest start wins
elseif was == S.ended and o.target == S.running and o.late_start then
  verdict = 'same'
  at = math.min(at, r[F.end_us])
  if r[F.start_us] == 0 or (o.backdated and at < r[F.start_us]) then set_start(at) end
else
  return answer('refused')
end
if verdict == 'same' and r[F.status] == S.running and o.lease_us > 0 then
  redis.call('ZADD', P .. ':leases', NOW + o.lease_us, id)
end
if metadata then write_metadata(metadata) end
return answer(verdict)
