-- Puts runs into a store that is filled for a measurement, with the product's own parts, so that every key is as if the
-- runs had happened. What a run leaves behind besides its record and indexes is written here as create.lua and end.lua
-- do.
-- ARGV: 1 now  2… pairs: run id (16 bytes), record (msgpack Record)    Answers the number of runs.
-- uses: clock records execution
for i = 2, #ARGV, 2 do
  local id, r = ARGV[i], cmsgpack.unpack(ARGV[i + 1])
  save(id, r)
  index(id, r)
  redis.call('HINCRBY', P .. ':def:' .. r[F.definition], 'refs', 1)
  redis.call('HINCRBY', P .. ':numbers', r[F.task], 1)
  redis.call('ZADD', P .. ':history', 0, r[F.task])
  redis.call('ZADD', P .. ':executions:all', r[F.created_us], id)
  redis.call('ZADD', P .. ':executions:t:' .. r[F.task], r[F.created_us], id)
  if r[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. r[F.external_id], id) end
  if r[F.status] ~= 'ended' then
    redis.call('HSET', P .. ':exec:' .. id, 'task', r[F.task], 'live', 1, 'state', 'started',
      'gates', cmsgpack.pack({}),
      'overlap', 'queue', 'max_queued', 100)
    if r[F.status] == 'pending' then enqueue(id, r) else redis.call('ZADD', P .. ':leases', NOW + 3600000000, id) end
  end
end
return (#ARGV - 1) / 2
