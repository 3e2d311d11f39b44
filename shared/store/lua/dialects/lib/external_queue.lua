-- External runs that consumers fetch: sorted set `external-queue:<task>` has the executions that wait, by the time they
-- are due, and set `in-flight:<consumer>` those that a consumer has. Channel `channel:external-queue:<task>` gets a
-- message when another execution waits.
-- fills: on_execution_created=queue_if_for_consumer on_run_ended=release_external
-- uses: clock execution gates records texts
local function put_into_external_queue(x, r)
  redis.call('ZADD', P .. ':external-queue:' .. r[F.task], math.max(r[F.due_us], r[F.created_us]), x)
  redis.call('PUBLISH', P .. ':channel:external-queue:' .. r[F.task], '')
end

-- Stores which consumer has a live run of an execution ('' for none), and whether it waits for one.
local function give_to_consumer(x, id, r, consumer, waits)
  if r[F.worker] ~= '' and r[F.worker] ~= consumer then redis.call('SREM', P .. ':in-flight:' .. r[F.worker], x) end
  if consumer ~= '' then redis.call('SADD', P .. ':in-flight:' .. consumer, x) end
  if r[F.worker] ~= consumer then
    r[F.worker] = consumer
    save(id, r)
  end
  if waits then put_into_external_queue(x, r) else redis.call('ZREM', P .. ':external-queue:' .. r[F.task], x) end
end

local function queue_if_for_consumer(x, r, options)
  if options.for_consumer then put_into_external_queue(x, r) end
end

-- Releases an ended external run: its execution's place in the queue or with a consumer, and a slot of each of its
-- tags' limits.
local function release_external(id, r)
  if r[F.external] == 0 or (r[F.via] or '') == '' then return end
  local x = execution_of(id, r)
  redis.call('ZREM', P .. ':external-queue:' .. r[F.task], x)
  if r[F.worker] ~= '' then redis.call('SREM', P .. ':in-flight:' .. r[F.worker], x) end
  if r[F.tags] == '' then return end
  for _, tag in ipairs(cjson.decode(text_behind(r[F.tags]))) do
    local gate = 'shared:tag:' .. tag
    if redis.call('ZREM', P .. ':slots:' .. gate, id) == 1 then admit(gate) end
  end
end
