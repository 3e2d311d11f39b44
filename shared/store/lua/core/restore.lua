-- Writes back a running run that its worker still executes, after the store was wiped or fell back to an older state.
-- ARGV: 1 now  2 run id  3 record as it was claimed (msgpack)  4 lease_us  5 gates (msgpack)
-- Answers 'restored', 'there' (it is running by this token), or 'refused' (the store has a newer state of it).
-- transitions: restore
-- flags: allow-oom
-- uses: clock events execution records shared_texts
local id, r, lease_us, gates = ARGV[2], cmsgpack.unpack(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local now = load(id)
if now and now[F.status] == r[F.status] and now[F.token] == r[F.token] then return 'there' end
if now then return 'refused' end
local x = execution_of(id, r)
if redis.call('EXISTS', P .. ':plan:' .. x) == 0 then r[F.step] = -1 end   -- its later steps are lost
redis.call('ZADD', P .. ':history', 0, r[F.task])
if (tonumber(redis.call('HGET', P .. ':numbers', r[F.task])) or 0) < r[F.number] then
  redis.call('HSET', P .. ':numbers', r[F.task], r[F.number])
end
local arrival = math.floor(r[F.token] / 4096)   -- lib/claim.lua
if (tonumber(redis.call('GET', P .. ':counter')) or 0) < arrival then
  redis.call('SET', P .. ':counter', text(arrival))
end
redis.call('ZADD', P .. ':executions:all', 'NX', r[F.created_us], x)
redis.call('ZADD', P .. ':leases', NOW + lease_us, id)
-- From here on no command uses a key that all runs share, so none fails because such a key was overwritten.
redis.call('HINCRBY', P .. ':def:' .. r[F.definition], 'refs', 1)
if redis.call('HINCRBY', P .. ':exec:' .. x, 'live', 1) == 1 then
  redis.call('HSET', P .. ':exec:' .. x, 'task', target_of(r), 'state', 'started', 'gates', gates,
    'overlap', 'queue', 'max_queued', 0)
  for _, gate in ipairs(cmsgpack.unpack(gates)) do
    redis.call('ZADD', P .. ':limit:' .. gate[1] .. ':holders', arrival, x)
  end
end
if id ~= x or r[F.replica_count] > 1 or target_of(r) ~= r[F.task] then
  -- In the order in which the runs were created, not that in which they are restored.
  local list, following = P .. ':exec-runs:' .. x, nil
  for _, other in ipairs(redis.call('LRANGE', list, 0, -1)) do
    local o = load(other)
    if not following and o and o[F.task] == r[F.task] and o[F.number] > r[F.number] then following = other end
  end
  if following then redis.call('LINSERT', list, 'BEFORE', following, id) else redis.call('RPUSH', list, id) end
end
redis.call('ZADD', P .. ':executions:t:' .. redis.call('HGET', P .. ':exec:' .. x, 'task'), 'NX', r[F.created_us], x)
if r[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. r[F.external_id], id) end
share_texts(x, r)
save(id, r)
index(id, r)
event('run.restored', r[F.task], id, x)
return 'restored'
